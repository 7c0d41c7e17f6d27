/** Owns the view of several tensors as one matrix while it is packed. */
#pragma once

#include <atomic>
#include <span>
#include <vector>

#include "ops/cpu/half.h"
#include "ops/cpu/kernels.h"
#include "ops/ops.h"
#include "tessera/error.h"

namespace tessera::cpu {

/** A row of one of the tensors; `part` is null where a panel is filled up. */
struct SourceRow {
  const HostTensor* part = nullptr;
  size_t index = 0;  // of the part
  size_t row = 0;    // in it

  const char* data() const {
    return static_cast<const char*>(part->data) + row * part->row_stride() * disk_bytes(part->type);
  }
};

/** The rows of several tensors as those of one matrix. */
class Joined {
 public:
  Joined(std::span<const HostTensor> parts, Join join) : parts_(parts), join_(join) {
    for (const auto& part : parts) rows_ += part.rows;
    if (join == Join::kGateUp) rows_ = 2 * ((parts[0].rows + kPanelWidth - 1) / kPanelWidth * kPanelWidth);
  }

  size_t rows() const { return rows_; }
  size_t cols() const { return parts_[0].cols; }
  size_t num_panels() const { return (rows_ + kPanelWidth - 1) / kPanelWidth; }
  std::span<const HostTensor> parts() const { return parts_; }

  SourceRow at(size_t row) const {
    if (join_ == Join::kGateUp) {
      // A panel of gate, then the same columns of up: their tiles are at hand together.
      const size_t panel = row / kPanelWidth;
      row = panel / 2 * kPanelWidth + row % kPanelWidth;
      return row < parts_[0].rows ? SourceRow{&parts_[panel % 2], panel % 2, row} : SourceRow{};
    }
    for (size_t index = 0; index < parts_.size(); row -= parts_[index++].rows) {
      if (row < parts_[index].rows) return {&parts_[index], index, row};
    }
    return {};
  }

 private:
  std::span<const HostTensor> parts_;
  Join join_;
  size_t rows_ = 0;
};

/** Which tensors turned out to hold what they must not. */
class Faults {
 public:
  explicit Faults(std::span<const HostTensor> parts) : parts_(parts), found_(parts.size()) {}

  void add(size_t part) { found_[part] = true; }
  void refuse_any(const char* what, const char* expected) const {
    for (size_t i = 0; i < parts_.size(); i++) {
      if (found_[i]) refuse("load tensor " + parts_[i].name, what, expected);
    }
  }

 private:
  std::span<const HostTensor> parts_;
  std::vector<std::atomic<bool>> found_;
};

}  // namespace tessera::cpu
