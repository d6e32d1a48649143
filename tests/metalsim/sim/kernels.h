// SPDX-License-Identifier: MIT
//
// kernels.h - compiled Metal sources, which newLibraryWithSource: returns.
#ifndef METALSIM_KERNELS_H
#define METALSIM_KERNELS_H

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../rt/launch.h"

namespace sim {

struct Argument {
  int index;         // -1: not bound by the host
  std::string kind;  // "buffer", "threadgroup", or a builtin's attribute
  std::string name, type;
  // Of buffers: 1 device, 2 const device, 3 constant, 4 threadgroup.
  uint32_t space = 0;
  bool reference = false;
  uint32_t size = 0, align = 0;  // of one element, in bytes
};

struct Kernel {
  uint32_t index, max_threads;  // max_threads 0: the source sets no limit
  std::string name;
  std::vector<Argument> arguments;
  uint32_t threadgroup_memory = 0;  // bytes of its threadgroup variables
};

// Module is a compiled and loaded source; it stays until the process ends.
struct Module {
  std::string source, key, so;
  std::vector<Kernel> kernels;
  std::vector<std::string> warnings;
  int (*run)(const msl_launch*, char* err, uint64_t errlen, msl_stats*) = nullptr;
  void (*flush)() = nullptr;  // writes the counters of mode coverage

  const Kernel* find(const std::string& name) const;
  // replaces the code addresses in a message of the executor by file:line
  std::string symbolize(const std::string& message) const;
};

// Dialect is what MTLCompileOptions specify: a version such as 3 << 16 | 1, and
// MTLMathMode.
struct Dialect {
  uint64_t language = 3 << 16 | 1;
  int64_t math = 0;  // safe, relaxed, fast
};

// compile returns the module of a source from this process, from the cache on disk, or
// by running mslc; on failure null, with the compiler's text in err.
std::shared_ptr<Module> compile(const std::string& source, const Dialect& dialect,
                                std::string* err);

}  // namespace sim

#endif
