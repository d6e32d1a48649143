// SPDX-License-Identifier: MIT
//
// findings.h - findings, counters and settings of the simulator.
#ifndef METALSIM_FINDINGS_H
#define METALSIM_FINDINGS_H

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sim {

// finding records a fault of the program under test: kind is "objc", "validation",
// "kernel", "stream" or "leak". With the setting abort=1 it ends the process, as
// Apple's validation layer does. Returns the text.
std::string finding(const char* kind, const char* format, ...)
    __attribute__((format(printf, 2, 3)));
std::vector<std::string> findings();
void clear_findings();

// Settings come from METALSIM_<NAME> when the library is loaded and from metalsim_set.
struct Settings {
  std::string mode = "checked";     // how kernels are compiled
  std::string order = "ascending";  // of threads: ascending, descending, shuffled
  uint32_t seed = 1;
  uint32_t workers = 2;           // cores that fast modes use
  std::string schedule = "lazy";  // lazy: work runs when waited for; eager: at once
  uint32_t max_threads = 1024;    // of a pipeline
  std::string max_threads_for;    // only for pipelines whose name contains this
  uint32_t page_size = 0;         // 0: this machine's
  int family = 9;                 // Apple GPU family
  std::string name = "Apple M4 Max (simulated)";
  int gpus = 1;               // number of GPUs; all but the last are not Apple's
  int torch_gpu = 0;          // the one that torch uses, from 1; 0: the last
  bool wrap_devices = false;  // every request for a device returns a new object
  uint32_t width = 32;        // threads per simdgroup that pipelines report
  std::string miscompile;     // FROM=>TO, in sources
  std::string miscompile_for; // only in sources that contain this
  bool abort_on_finding = false;
  std::string record;                    // folder
  std::string mslc;                      // path of the compiler; default: next to the library
  std::string torch = "2.15";            // version whose streams are imitated
  std::string dispatch_type = "serial";  // of torch's encoder: serial, concurrent
  std::string report;                    // file written when the process ends
};
Settings& settings();
// set_option changes a setting; for an unknown name or value it returns an error text.
std::string set_option(const std::string& name, const std::string& value);

// injected reports whether a fault that the setting fail=WHAT[@N],... requests is due:
// always, or at the N-th opportunity for WHAT, counted from 1.
bool injected(const char* what);

// hide makes a symbol, Class, or Class.selector disappear. "aoti" and "streams"
// stand for torch's C shims and C++ symbols.
std::string hide(const std::string& name, bool hidden);

enum Stat {
  kDispatches,
  kCommandBuffers,
  kCommits,
  kWaits,
  kEncoders,
  kBuffers,
  kWrapped,
  kFills,
  kWrites,
  kCopies,
  kLibraries,
  kCompiled,
  kPipelines,
  kSends,
  kAccesses,
  kThreads,
  kBarriers,
  kSimdOps,
  kDeviceRead,
  kDeviceWritten,
  kConstantRead,
  kThreadgroupRead,
  kThreadgroupWritten,
  kStatCount
};
extern const char* const stat_names[kStatCount];
extern std::atomic<uint64_t> stats[kStatCount];
inline void count(Stat s, uint64_t n = 1) { stats[s].fetch_add(n, std::memory_order_relaxed); }

std::string report();

}  // namespace sim

#endif
