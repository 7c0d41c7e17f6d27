#include "runtime/available_cpus.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

namespace tessera {

namespace {

/** Quota of one group in CPUs, 0 for none. */
int group_quota(const std::string& folder) {
  std::string quota;
  double period = 0;
  std::ifstream whole(folder + "/cpu.max");  // version 2: "<quota> <period>" in microseconds, or "max <period>"
  if (!(whole >> quota >> period)) {
    std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;  // version 1: -1 for none
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  const double microseconds = std::atof(quota.c_str());  // 0 for "max"
  if (!(microseconds > 0 && period > 0)) return 0;
  return static_cast<int>(std::min(std::ceil(microseconds / period), 65536.0));
}

/** Whether a list of controllers, as "cpu,cpuacct", has the one of CPUs; version 2's is empty. */
bool governs_cpus(const std::string& controllers) {
  return controllers.empty() || ("," + controllers + ",").find(",cpu,") != std::string::npos;
}

}  // namespace

int cpu_quota(const std::string& self, const std::string& root) {
  int least = 0;
  std::istringstream lines(self);
  // Of each hierarchy a line "<number>:<controllers>:<path>".
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!governs_cpus(controllers)) continue;
    const std::string mount = root + (controllers.empty() ? "" : "/cpu");
    // A group is bound by those above it. In a container the path may be the host's, and its own group the mount itself.
    std::string path = line.substr(second + 1);
    for (;;) {
      const int quota = group_quota(mount + path);
      if (quota > 0) least = least == 0 ? quota : std::min(least, quota);
      const size_t end = path.rfind('/');
      if (end == std::string::npos) break;
      path.resize(end);
    }
  }
  return least;
}

int available_cpus() {
  int cpus = std::max(1u, std::thread::hardware_concurrency());
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = std::max(1, CPU_COUNT(&set));
  std::ifstream file("/proc/self/cgroup");
  const std::string self{std::istreambuf_iterator<char>(file), {}};
  const int quota = cpu_quota(self, "/sys/fs/cgroup");
  if (quota > 0) cpus = std::min(cpus, quota);
#endif
  return cpus;
}

}  // namespace tessera
