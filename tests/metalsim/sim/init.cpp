// SPDX-License-Identifier: MIT
//
// init.cpp - registers classes and reads settings when the library is loaded, and
// writes the report when the process ends.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "dispatch.h"
#include "findings.h"
#include "metal.h"
#include "torch.h"

extern char** environ;

namespace sim {
namespace {

constexpr char kPrefix[] = "METALSIM_";

std::string lower(const char* s, size_t n) {
  std::string out(s, n);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

void write_report() {
  if (FILE* f = fopen(settings().report.c_str(), "w")) {
    fputs(report().c_str(), f);
    fclose(f);
  }
}

// METALSIM_CACHE is read by the compiler.
__attribute__((constructor)) void initialize() {
  define_root();
  define_foundation();
  define_metal();
  define_commands();
  define_encoder();
  define_dispatch();
  define_shader();
  for (char** e = environ; *e; e++) {
    const char* eq = strchr(*e, '=');
    if (!eq || strncmp(*e, kPrefix, sizeof kPrefix - 1) != 0) continue;
    std::string name =
        lower(*e + sizeof kPrefix - 1, static_cast<size_t>(eq - *e) - (sizeof kPrefix - 1));
    if (name == "cache") continue;
    std::string err = set_option(name, eq + 1);
    if (err.empty()) continue;
    fprintf(stderr, "metalsim: %s\n", err.c_str());
    exit(2);
  }
  if (!settings().report.empty()) atexit(write_report);
}

}  // namespace
}  // namespace sim
