#include "ops/cuda/device.h"

#include <algorithm>
#include <memory>

#include "ops/cuda/cuda_error.h"

namespace tessera::cuda {

PinnedMemory::PinnedMemory(size_t bytes) { reserve(bytes); }

PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) (void)cudaFreeHost(data_);
}

void PinnedMemory::reserve(size_t bytes) {
  if (bytes <= bytes_) return;
  if (data_ != nullptr) must(cudaFreeHost(data_), "free pinned memory");
  data_ = nullptr;
  bytes_ = 0;
  must(cudaMallocHost(&data_, bytes), "take pinned memory");
  bytes_ = bytes;
}

Event::Event() { must(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "make an event"); }

Event::~Event() { (void)cudaEventDestroy(event_); }

void Event::record(cudaStream_t stream) { must(cudaEventRecord(event_, stream), "record an event"); }

void Event::wait() { must(cudaEventSynchronize(event_), "wait for work"); }

TimedEvent::TimedEvent() { must(cudaEventCreate(&event_), "make an event"); }

TimedEvent::~TimedEvent() { (void)cudaEventDestroy(event_); }

void TimedEvent::record(cudaStream_t stream) const { must(cudaEventRecord(event_, stream), "record an event"); }

float TimedEvent::ms_since(const TimedEvent& begin) const {
  must(cudaEventSynchronize(event_), "wait for work");
  float ms = 0;
  must(cudaEventElapsedTime(&ms, begin.event_, event_), "measure");
  return ms;
}

Device::Device(int index) : index_(index) {
  use();
  int major = 0;
  int minor = 0;
  must(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index), "read what the device is");
  must(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index), "read what the device is");
  arch_ = "sm_" + std::to_string(major) + std::to_string(minor);
  if (major < 8) refuse("use GPU " + std::to_string(index), "it is " + arch_, "sm_80 or newer");
  // Not ordered with the legacy stream, which other users of the process may have.
  must(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "make a stream");
}

Device::~Device() {
  (void)cudaSetDevice(index_);
  (void)cudaStreamSynchronize(stream_);
  delete[] stages_;
  (void)cudaStreamDestroy(stream_);
}

void Device::use() const { must(cudaSetDevice(index_), "choose the device"); }

std::string Device::name() const {
  cudaDeviceProp properties;
  must(cudaGetDeviceProperties(&properties, index_), "ask for the device's name");
  return properties.name;
}

size_t Device::free_bytes() const {
  use();
  size_t free = 0;
  size_t total = 0;
  must(cudaMemGetInfo(&free, &total), "ask for free memory");
  return free;
}

Buffer Device::allocate_raw(size_t bytes) const {
  use();
  void* memory = nullptr;
  must(cudaMalloc(&memory, std::max<size_t>(bytes, 1)), "take memory");
  return {std::shared_ptr<void>(memory, [index = index_](void* at) {
            (void)cudaSetDevice(index);
            (void)cudaFree(at);
          }),
          bytes};
}

Buffer Device::allocate(size_t bytes) const {
  Buffer buffer = allocate_raw(bytes);
  if (bytes > 0) must(cudaMemsetAsync(buffer.memory.get(), 0, bytes, stream_), "clear memory");
  return buffer;
}

void Device::synchronise() const {
  use();
  must(cudaStreamSynchronize(stream_), "run a step");
}

void Device::reserve_stages(size_t bytes) {
  use();
  if (stages_ == nullptr) stages_ = new Stage[2];
  for (int i = 0; i < 2; i++) {
    stages_[i].copied.wait();
    stages_[i].memory.reserve(std::min(bytes, kPieceBytes));
  }
}

void Device::upload(void* target, size_t bytes, const std::function<void(size_t, size_t, char*)>& fill) {
  use();
  if (stages_ == nullptr) stages_ = new Stage[2];
  for (size_t first = 0; first < bytes; first += kPieceBytes) {
    const size_t count = std::min(kPieceBytes, bytes - first);
    Stage& stage = stages_[next_stage_];
    next_stage_ = 1 - next_stage_;
    stage.copied.wait();
    stage.memory.reserve(count);
    fill(first, count, stage.memory.data());
    must(cudaMemcpyAsync(static_cast<char*>(target) + first, stage.memory.data(), count, cudaMemcpyHostToDevice, stream_),
         "copy to the device");
    stage.copied.record(stream_);
  }
}

}  // namespace tessera::cuda
