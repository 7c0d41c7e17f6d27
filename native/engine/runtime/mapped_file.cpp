#include "runtime/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tessera/error.h"

namespace tessera {

namespace {

int64_t modified_of(const struct stat& status) {
#ifdef __APPLE__
  const timespec& modified = status.st_mtimespec;
#else
  const timespec& modified = status.st_mtim;
#endif
  return int64_t{modified.tv_sec} * 1'000'000'000 + modified.tv_nsec;
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  // Without waiting: a pipe would be opened when somebody writes to it.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) refuse("open " + path, std::strerror(errno), "a readable file");
  struct stat status;
  if (fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) {
    close();
    refuse("open " + path, "it is no plain file", "one");
  }
  size_ = static_cast<uint64_t>(status.st_size);
  modified_ns_ = modified_of(status);
  if (size_ == 0) return;
  void* mapped = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd_, 0);
  if (mapped == MAP_FAILED) {
    const int error = errno;
    close();
    refuse("map " + path, std::strerror(error), "address space for it");
  }
  data_ = static_cast<const char*>(mapped);
  guard_.emplace(data_, size_);
  madvise(mapped, size_, MADV_SEQUENTIAL);
}

MappedFile::~MappedFile() {
  guard_.reset();
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
  close();
}

void MappedFile::close() { ::close(fd_); }

void MappedFile::require_unchanged() const {
  struct stat now;
  const bool is_known = fstat(fd_, &now) == 0;
  if (is_known && static_cast<uint64_t>(now.st_size) != size_) {
    refuse("read " + path_, std::to_string(now.st_size) + " bytes where there were " + std::to_string(size_),
           "it as it was when it was opened");
  }
  if (guard_.has_value() && guard_->has_failed()) refuse("read " + path_, "some of it could not be read", "all of it");
  if (!is_known || modified_of(now) != modified_ns_) {
    refuse("read " + path_, "it was written to meanwhile", "it as it was when it was opened");
  }
}

}  // namespace tessera
