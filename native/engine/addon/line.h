/** Owns the order of work that is handed to threads of its own: each waits until all that came before has had its turn. */
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

namespace tessera::addon {

class Line {
 public:
  /** A place in the line; it is given up when this is destroyed, whether or not it ever came to its turn. */
  class Place {
   public:
    Place(std::shared_ptr<Line> line, uint64_t number) : line_(std::move(line)), number_(number) {}
    ~Place() { leave(); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    /** Until it is the first. Those before it have threads already, so it does not wait for ever. */
    void wait() {
      std::unique_lock lock(line_->mutex_);
      line_->moved_.wait(lock, [&] { return *line_->places_.begin() == number_; });
    }
    void leave() {
      const std::lock_guard lock(line_->mutex_);
      line_->places_.erase(number_);
      line_->moved_.notify_all();
    }

   private:
    const std::shared_ptr<Line> line_;
    const uint64_t number_;
  };

  /** The last place. */
  static std::shared_ptr<Place> join(const std::shared_ptr<Line>& line) {
    const std::lock_guard lock(line->mutex_);
    const uint64_t number = line->next_++;
    line->places_.insert(number);
    return std::make_shared<Place>(line, number);
  }

 private:
  std::mutex mutex_;
  std::condition_variable moved_;
  std::set<uint64_t> places_;
  uint64_t next_ = 0;
};

}  // namespace tessera::addon
