/**
 * Checks what the real library checks, and what it would hang on or compute nonsense from: a thread that has several
 * ranks groups its calls; in a group every rank of a communicator calls as often, in the same order, with the same
 * counts, types and operations; streams are of the ranks' own devices, all of them recording or none; buffers lie whole
 * in the rank's memory. A rank's stream goes on when all have come, and a rank that never comes is a deadlock, which ends
 * the program. Sums are fp32, in the order of ranks.
 */
#include "libraries/nccl.h"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "device/access.h"
#include "runtime/runtime.h"

using cuemu::Memory;
using cuemu::Runtime;

namespace {

constexpr int kSuccess = 0;
constexpr int kUnhandledCudaError = 1;
constexpr int kInvalidArgument = 4;
constexpr int kInvalidUsage = 5;
constexpr int kVersion = 22800;
constexpr int kFloat32 = 7;
constexpr int kSum = 0;

std::string last_error;

int refuse(int status, const std::string& what) {
  last_error = what;
  cuemu::warn("NCCL: " + what);
  return status;
}

/** What one rank asked for. */
struct Call {
  ncclComm_t comm = nullptr;
  const void* send = nullptr;
  void* receive = nullptr;
  size_t count = 0;
  int type = 0;
  int operation = 0;
  cudaStream_t stream = nullptr;

  bool matches(const Call& other) const {
    return count == other.count && type == other.type && operation == other.operation;
  }
};

/** Ranks that were made together. */
struct Clique {
  std::vector<ncclComm_t> ranks;
  /** Of each rank: calls its stream has come to. */
  std::vector<std::deque<Call>> arrived;
  /** When the last rank came to what was done last. */
  cuemu::Moment done;
};

thread_local int group_depth = 0;
thread_local std::vector<Call> group_calls;

}  // namespace

struct ncclComm {
  std::shared_ptr<Clique> clique;
  int rank = 0;
  int device = 0;
  uint64_t num_started = 0;
  uint64_t num_done = 0;
};

namespace {

std::set<ncclComm_t>& live() {
  static auto* all = new std::set<ncclComm_t>;
  return *all;
}

/** Sums up what all ranks have come with. */
void reduce(Clique& clique) {
  Runtime& runtime = Runtime::instance();
  const size_t count = clique.arrived[0].front().count;
  std::vector<float> sums(count);
  for (ncclComm_t comm : clique.ranks) {
    const Call& call = clique.arrived[comm->rank].front();
    if (!call.matches(clique.arrived[0].front())) cuemu::fail("ranks that ask NCCL for different things", {"nccl", 0});
    const Memory::Access access(runtime.memory, comm->device);
    const auto* values = static_cast<const float*>(call.send);
    for (size_t i = 0; i < count; i++) sums[i] = comm->rank == 0 ? values[i] : sums[i] + values[i];
  }
  for (ncclComm_t comm : clique.ranks) {
    const Call call = clique.arrived[comm->rank].front();
    clique.arrived[comm->rank].pop_front();
    const Memory::Access access(runtime.memory, comm->device);
    std::copy(sums.begin(), sums.end(), static_cast<float*>(call.receive));
    cuemu::note_host_write(call.receive, count * sizeof(float));
    comm->num_done++;
  }
}

int check(Runtime& runtime, const Call& call) {
  if (!live().contains(call.comm)) return refuse(kInvalidArgument, "a communicator that is none");
  if (call.send == nullptr || call.receive == nullptr) return refuse(kInvalidArgument, "a null pointer");
  if (call.type != kFloat32 || call.operation != kSum) return refuse(kInvalidArgument, "other than sums of fp32");
  if (!runtime.streams.contains(call.stream) || call.stream->device != call.comm->device) {
    return refuse(kUnhandledCudaError, "a stream of another device than the rank's");
  }
  const size_t bytes = call.count * sizeof(float);
  for (const void* at : {call.send, static_cast<const void*>(call.receive)}) {
    if (reinterpret_cast<uintptr_t>(at) % sizeof(float) != 0 ||
        runtime.memory.device_of(at, bytes) != call.comm->device) {
      return refuse(kInvalidArgument, "a buffer that is not, or not whole, in the memory of the rank's device");
    }
  }
  const auto* send = static_cast<const char*>(call.send);
  const auto* receive = static_cast<const char*>(call.receive);
  if (send != receive && send < receive + bytes && receive < send + bytes) {
    return refuse(kInvalidArgument, "buffers that overlap and are not the same");
  }
  return kSuccess;
}

/** Whether all ranks of each communicator ask for the same, in the same order. */
int check_group(const std::vector<Call>& calls) {
  std::map<ncclComm_t, std::vector<const Call*>> by_rank;
  for (const Call& call : calls) by_rank[call.comm].push_back(&call);
  for (const auto& [comm, own] : by_rank) {
    for (ncclComm_t other : comm->clique->ranks) {
      const auto found = by_rank.find(other);
      if (found == by_rank.end() || found->second.size() != own.size()) {
        return refuse(kInvalidUsage, "rank " + std::to_string(other->rank) + " of " +
                      std::to_string(comm->clique->ranks.size()) + " takes no part in what the others wait for");
      }
      for (size_t i = 0; i < own.size(); i++) {
        if (!own[i]->matches(*found->second[i])) {
          return refuse(kInvalidUsage, "ranks " + std::to_string(comm->rank) + " and " + std::to_string(other->rank) +
                        " with different counts, types or operations");
        }
        if ((own[i]->stream->capture == nullptr) != (found->second[i]->stream->capture == nullptr)) {
          return refuse(kInvalidUsage, "streams of which some record and others do not");
        }
      }
    }
  }
  return kSuccess;
}

int enqueue(Runtime& runtime, const Call& call) {
  const cudaError_t came = runtime.enqueue(call.stream, {[call] {
    Clique& clique = *call.comm->clique;
    call.comm->num_started++;
    clique.arrived[call.comm->rank].push_back(call);
    const Runtime& runtime = Runtime::instance();
    clique.done = {runtime.epoch, std::max(runtime.now, runtime.at(clique.done))};
    for (const auto& calls : clique.arrived) {
      if (calls.empty()) return;
    }
    reduce(clique);
  }, {}});
  // A rank's calls are in the order of its streams, so that none is done before an earlier one.
  const cudaError_t done = runtime.enqueue(call.stream, {[] {}, [comm = call.comm] {
    return comm->num_done == comm->num_started;
  }, 0, [clique = call.comm->clique] { return Runtime::instance().at(clique->done); }});
  return came == cudaSuccess && done == cudaSuccess ? kSuccess : refuse(kUnhandledCudaError, "a stream that is none");
}

}  // namespace

extern "C" {

int ncclGetVersion(int* version) {
  *version = kVersion;
  return kSuccess;
}

const char* ncclGetErrorString(int status) {
  switch (status) {
    case kSuccess: return "no error";
    case kUnhandledCudaError: return "unhandled cuda error";
    case kInvalidArgument: return "invalid argument";
    case kInvalidUsage: return "invalid usage";
    default: return "unknown result code";
  }
}

const char* ncclGetLastError(ncclComm_t) { return last_error.c_str(); }

int ncclCommInitAll(ncclComm_t* comms, int count, const int* devices) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (comms == nullptr || count < 1) return refuse(kInvalidArgument, "no communicators");
  std::set<int> seen;
  for (int i = 0; i < count; i++) {
    const int device = devices == nullptr ? i : devices[i];
    if (device < 0 || device >= runtime.num_devices()) return refuse(kInvalidArgument, "a device that is not there");
    if (!seen.insert(device).second) return refuse(kInvalidUsage, "a device twice");
  }
  const auto clique = std::make_shared<Clique>();
  clique->arrived.resize(count);
  for (int i = 0; i < count; i++) {
    comms[i] = new ncclComm{.clique = clique, .rank = i, .device = devices == nullptr ? i : devices[i]};
    clique->ranks.push_back(comms[i]);
    live().insert(comms[i]);
  }
  return kSuccess;
}

int ncclCommDestroy(ncclComm_t comm) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (!live().contains(comm)) return refuse(kInvalidArgument, "a communicator that is none");
  if (comm->num_done != comm->num_started) return refuse(kInvalidUsage, "a communicator that others wait for");
  live().erase(comm);
  delete comm;
  return kSuccess;
}

int ncclGroupStart() {
  group_depth++;
  return kSuccess;
}

int ncclGroupEnd() {
  if (group_depth == 0) return refuse(kInvalidUsage, "the end of a group that was not begun");
  if (--group_depth > 0) return kSuccess;
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  const std::vector<Call> calls = std::move(group_calls);
  group_calls.clear();
  if (const int status = check_group(calls); status != kSuccess) return status;
  for (const Call& call : calls) {
    if (const int status = enqueue(runtime, call); status != kSuccess) return status;
  }
  return kSuccess;
}

int ncclAllReduce(const void* send, void* receive, size_t count, int type, int operation, ncclComm_t comm,
                  cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  const Call call = {comm, send, receive, count, type, operation, stream};
  if (const int status = check(runtime, call); status != kSuccess) return status;
  if (group_depth > 0) {
    group_calls.push_back(call);
    return kSuccess;
  }
  if (comm->clique->ranks.size() > 1) {
    return refuse(kInvalidUsage, "a thread that has several ranks and does not group its calls: the first would wait for ever");
  }
  return enqueue(runtime, call);
}

}  // extern "C"
