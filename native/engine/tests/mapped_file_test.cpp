/** Owns the proof that what happens to a mapped file while it is read is an error, not the process's end. */
#include "runtime/mapped_file.h"

#include <sys/stat.h>

#include <thread>
#include <vector>

#include "model/safetensors.h"
#include "tests/check.h"
#include "tests/folder.h"
#include "tests/tiny_model.h"

namespace {

using namespace tessera;
using namespace tessera::tests;
namespace fs = std::filesystem;

constexpr size_t kBytes = 1 << 20;

size_t count(const MappedFile& file, char byte) {
  size_t found = 0;
  for (size_t i = 0; i < file.size(); i++) found += file.data()[i] == byte;
  return found;
}

TEST(a_mapped_file_that_is_cut_short_reads_as_zeros_and_says_so) {
  const Folder folder;
  const std::string path = folder.write("data", std::string(kBytes, 'x'));
  const MappedFile file(path);
  const MappedFile other(folder.write("other", std::string(kBytes, 'x')));
  file.require_unchanged();
  fs::resize_file(path, kBytes / 2);
  std::vector<size_t> found(4);
  std::vector<std::thread> readers;
  for (size_t& result : found) readers.emplace_back([&] { result = count(file, 'x'); });
  for (auto& reader : readers) reader.join();
  for (const size_t result : found) CHECK_EQUAL(result, kBytes / 2);
  CHECK_REFUSES("data: 524288 bytes where there were 1048576", file.require_unchanged());
  CHECK_EQUAL(count(other, 'x'), kBytes);
  other.require_unchanged();
}

TEST(a_read_that_failed_is_known_although_the_file_is_whole_again) {
  const Folder folder;
  const std::string path = folder.write("data", std::string(kBytes, 'x'));
  const MappedFile file(path);
  fs::resize_file(path, 0);
  CHECK_EQUAL(count(file, 'x'), 0u);
  fs::resize_file(path, kBytes);
  CHECK_REFUSES("data: some of it could not be read", file.require_unchanged());
}

TEST(a_mapped_file_that_is_written_to_is_no_longer_the_same) {
  const Folder folder;
  const std::string path = folder.write("data", "abc");
  fs::last_write_time(path, fs::last_write_time(path) - std::chrono::seconds(5));
  const MappedFile file(path);
  folder.write("data", "abd");
  CHECK_REFUSES("data: it was written to", file.require_unchanged());
}

TEST(a_checkpoint_that_changes_while_it_is_read_says_which_file) {
  const Folder folder;
  write_tiny_model(folder);
  const Checkpoint checkpoint(folder.path);
  checkpoint.require_unchanged();
  fs::resize_file(folder.path + "/model.safetensors", 100);
  CHECK_REFUSES("model.safetensors: 100 bytes where there were", checkpoint.require_unchanged());
}

TEST(a_pipe_in_place_of_a_file_is_refused_without_waiting) {
  const Folder folder;
  CHECK_EQUAL(mkfifo((folder.path + "/pipe").c_str(), 0666), 0);
  CHECK_REFUSES("pipe: it is no plain file", MappedFile(folder.path + "/pipe"));
}

}  // namespace
