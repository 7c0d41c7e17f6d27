/** Owns the proof that quotas of control groups are found, whichever version and however deep. */
#include "runtime/available_cpus.h"

#include "tests/check.h"
#include "tests/folder.h"

namespace {

using namespace tessera;
using namespace tessera::tests;
namespace fs = std::filesystem;

TEST(a_quota_of_version_2_is_the_smallest_on_the_way_up) {
  const Folder root;
  fs::create_directories(root.path + "/system.slice/worker");
  const std::string self = "0::/system.slice/worker\n";
  CHECK_EQUAL(cpu_quota(self, root.path), 0);
  root.write("system.slice/worker/cpu.max", "max 100000\n");
  CHECK_EQUAL(cpu_quota(self, root.path), 0);
  root.write("system.slice/cpu.max", "350000 100000\n");
  CHECK_EQUAL(cpu_quota(self, root.path), 4);
  root.write("system.slice/worker/cpu.max", "50000 100000\n");
  CHECK_EQUAL(cpu_quota(self, root.path), 1);
  root.write("cpu.max", "20000 10000\n");
  CHECK_EQUAL(cpu_quota("0::/\n", root.path), 2);
  CHECK_EQUAL(cpu_quota("0::/path/of/the/host\n", root.path), 2);
}

TEST(a_quota_of_version_1_is_found_too) {
  const Folder root;
  fs::create_directories(root.path + "/cpu/docker/7");
  const std::string self = "9:name=systemd:/x\n4:cpu,cpuacct:/docker/7\n3:cpuset:/docker/7\n0::/docker/7\n";
  CHECK_EQUAL(cpu_quota(self, root.path), 0);
  root.write("cpu/docker/7/cpu.cfs_period_us", "100000\n");
  root.write("cpu/docker/7/cpu.cfs_quota_us", "-1\n");
  CHECK_EQUAL(cpu_quota(self, root.path), 0);
  root.write("cpu/docker/7/cpu.cfs_quota_us", "150000\n");
  CHECK_EQUAL(cpu_quota(self, root.path), 2);
  CHECK_EQUAL(cpu_quota("3:cpuset:/docker/7\n", root.path), 0);
}

TEST(what_is_no_list_of_groups_has_no_quota) {
  const Folder root;
  root.write("cpu.max", "nonsense\n");
  for (const char* self : {"", "\n", "nothing", "0:", "0::", "0::/..", "0::x/y"}) CHECK_EQUAL(cpu_quota(self, root.path), 0);
  CHECK(available_cpus() >= 1);
}

}  // namespace
