/** Owns the proof that checkpoints are read exactly, and that a hostile or broken file is an error that names it. */
#include <filesystem>

#include "model/safetensors.h"
#include "tests/check.h"
#include "tests/folder.h"

namespace {

using namespace tessera;
using namespace tessera::tests;

std::string file_of(const std::string& header, size_t data_bytes) {
  std::string data;
  for (size_t i = 0; i < data_bytes; i++) data += static_cast<char>(i);
  return safetensors_bytes(header, data);
}

void read(const Folder& folder, const std::string& content) {
  const MappedFile file(folder.write("model.safetensors", content));
  read_safetensors(file);
}

TEST(safetensors_reads_names_shapes_and_bytes) {
  const Folder folder;
  folder.write("model.safetensors", file_of(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,3],)"
                                            R"("data_offsets":[0,12]},"b":{"dtype":"F32","shape":[],"data_offsets":[12,16]},)"
                                            R"("empty":{"dtype":"F16","shape":[0,4],"data_offsets":[16,16]}})", 16));
  const Checkpoint checkpoint(folder.path);
  CHECK(checkpoint.has("a"));
  CHECK(!checkpoint.has("__metadata__"));
  const DiskTensor& a = checkpoint.require("a", {2, 3});
  CHECK_EQUAL(a.bytes, 12u);
  CHECK_EQUAL(a.data[5], 5);
  CHECK_EQUAL(checkpoint.require("b", {}).data[0], 12);
  CHECK_REFUSES("tensor c is missing", checkpoint.require("c", {1}));
  CHECK_REFUSES("tensor a has shape [2, 3], expected [3, 2]", checkpoint.require("a", {3, 2}));
}

TEST(safetensors_refuses_hostile_headers) {
  const Folder folder;
  const auto tensor = [](const std::string& body) { return file_of("{\"t\":{" + body + "}}", 16); };
  CHECK_REFUSES("3 bytes", read(folder, "abc"));
  CHECK_REFUSES("0 bytes", read(folder, ""));
  CHECK_REFUSES("header of", read(folder, std::string(8, '\xff') + "{}"));
  CHECK_REFUSES("header of", read(folder, std::string(1, '\x7f') + std::string(7, '\0') + "{}"));
  CHECK_REFUSES("Cannot read", read(folder, file_of("[]", 0)));
  CHECK_REFUSES("Cannot read", read(folder, file_of("{\"t\":", 0)));
  CHECK_REFUSES("incomplete", read(folder, file_of("{\"t\":3}", 16)));
  CHECK_REFUSES("incomplete", read(folder, tensor(R"("dtype":"F32","shape":[4])")));
  CHECK_REFUSES("incomplete", read(folder, tensor(R"("dtype":"F32","shape":[4],"data_offsets":[0])")));
  CHECK_REFUSES("incomplete", read(folder, tensor(R"("dtype":7,"shape":[4],"data_offsets":[0,16])")));
  CHECK_REFUSES("dtype Q9", read(folder, tensor(R"("dtype":"Q9","shape":[4],"data_offsets":[0,16])")));
  CHECK_REFUSES("natural", read(folder, tensor(R"("dtype":"F32","shape":[-4],"data_offsets":[0,16])")));
  CHECK_REFUSES("natural", read(folder, tensor(R"("dtype":"F32","shape":[4.0],"data_offsets":[0,16])")));
  CHECK_REFUSES("natural", read(folder, tensor(R"("dtype":"F32","shape":[4],"data_offsets":[-1,15])")));
  CHECK_REFUSES("natural", read(folder, tensor(R"("dtype":"F32","shape":[4],"data_offsets":[0,99999999999999999999])")));
  CHECK_REFUSES("truncated", read(folder, tensor(R"("dtype":"F32","shape":[4],"data_offsets":[1,17])")));
  CHECK_REFUSES("truncated", read(folder, tensor(R"("dtype":"F32","shape":[4],"data_offsets":[16,0])")));
  CHECK_REFUSES("has 16 bytes, expected 20", read(folder, tensor(R"("dtype":"F32","shape":[5],"data_offsets":[0,16])")));
  CHECK_REFUSES("64 bits", read(folder, tensor(R"("dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,16])")));
  CHECK_REFUSES("64 bits", read(folder, tensor(R"("dtype":"F32","shape":[9223372036854775807,8],"data_offsets":[0,16])")));
}

TEST(safetensors_refuses_tensors_that_overlap_or_leave_gaps) {
  const Folder folder;
  const auto two = [](const char* first, const char* second, size_t bytes) {
    const auto entry = [](const char* offsets) {
      return std::string(R"({"dtype":"F32","shape":[2],"data_offsets":)") + offsets + "}";
    };
    return file_of("{\"a\":" + entry(first) + ",\"b\":" + entry(second) + "}", bytes);
  };
  read(folder, two("[0,8]", "[8,16]", 16));
  read(folder, two("[8,16]", "[0,8]", 16));
  CHECK_REFUSES("tensor b [2] begins at byte 4, expected at 8", read(folder, two("[0,8]", "[4,12]", 12)));
  CHECK_REFUSES("[2] begins at byte 0, expected at 8", read(folder, two("[0,8]", "[0,8]", 8)));
  CHECK_REFUSES("tensor b [2] begins at byte 12, expected at 8", read(folder, two("[0,8]", "[12,20]", 20)));
  CHECK_REFUSES("tensor a [2] begins at byte 4, expected at 0", read(folder, two("[4,12]", "[12,20]", 20)));
  CHECK_REFUSES("3 bytes behind the last tensor", read(folder, two("[0,8]", "[8,16]", 19)));
}

TEST(safetensors_refuses_what_was_never_asked_for) {
  const Folder folder;
  folder.write("model.safetensors", file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                            R"("b":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]}})", 8));
  const Checkpoint checkpoint(folder.path);
  checkpoint.require("a", {1});
  checkpoint.refuse_unused([](const std::string& name) { return name == "b"; });
  CHECK_REFUSES("model.safetensors: tensor b [1, 1] has no place",
                checkpoint.refuse_unused([](const std::string&) { return false; }));
}

TEST(safetensors_names_a_truncated_tensor) {
  const Folder folder;
  const std::string whole = file_of(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", 16);
  CHECK_REFUSES("tensor w [4] lies at bytes 0 to 16 of 15", read(folder, whole.substr(0, whole.size() - 1)));
}

TEST(safetensors_refuses_types_that_hold_no_weights) {
  const Folder folder;
  folder.write("model.safetensors", file_of(R"({"w":{"dtype":"I32","shape":[4],"data_offsets":[0,16]}})", 16));
  CHECK_REFUSES("tensor w [4] is I32, expected BF16, F16 or F32", Checkpoint(folder.path).require("w", {4}));
}

TEST(safetensors_reads_shards_behind_an_index) {
  const Folder folder;
  const std::string index = "model.safetensors.index.json";
  folder.write("one", file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4));
  folder.write("two", file_of(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4));
  folder.write(index, R"({"weight_map":{"a":"one","b":"two"}})");
  CHECK(Checkpoint(folder.path).has("a"));
  CHECK(Checkpoint(folder.path).has("b"));
  folder.write(index, R"({"weight_map":{"a":"one","b":"three"}})");
  CHECK_REFUSES("three", Checkpoint(folder.path));
  folder.write(index, R"({"weight_map":{"a":"two","b":"two"}})");
  CHECK_REFUSES("tensor a is not in two", Checkpoint(folder.path));
  folder.write(index, R"({"weight_map":{"a":"../one"}})");
  CHECK_REFUSES("plain file name", Checkpoint(folder.path));
  folder.write(index, R"({"weight_map":{"a":"one\u0000two"}})");
  CHECK_REFUSES("plain file name", Checkpoint(folder.path));
  folder.write(index, R"({"weights":1})");
  CHECK_REFUSES("weight_map", Checkpoint(folder.path));
  folder.write("two", file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4));
  folder.write(index, R"({"weight_map":{"a":"one","b":"two"}})");
  CHECK_REFUSES("too", Checkpoint(folder.path));
}

TEST(safetensors_refuses_what_is_no_file) {
  const Folder folder;
  CHECK_REFUSES("model.safetensors", Checkpoint(folder.path));
  std::filesystem::create_directory(folder.path + "/model.safetensors");
  CHECK_REFUSES("plain file", Checkpoint(folder.path));
}

}  // namespace
