/** Owns how many CPUs this process may use. */
#pragma once

#include <string>

namespace tessera {

/** CPUs this process may use: affinity and the quota of its control groups (a container's, a unit's), at least 1. */
int available_cpus();

/**
 * The smallest quota of a process's control groups, rounded up to whole CPUs; 0: there is none. Versions 1 and 2.
 * @param self contents of /proc/self/cgroup
 * @param root where control groups are mounted: /sys/fs/cgroup
 */
int cpu_quota(const std::string& self, const std::string& root);

}  // namespace tessera
