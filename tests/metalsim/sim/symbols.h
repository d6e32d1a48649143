// SPDX-License-Identifier: MIT
#ifndef METALSIM_SYMBOLS_H
#define METALSIM_SYMBOLS_H

#include <string>
#include <vector>

namespace sim {

extern const std::vector<std::string> aoti_symbols;    // torch's C shims
extern const std::vector<std::string> stream_symbols;  // torch's C++ streams

// hide_symbols makes this library's exports invisible to dlsym, or visible
// again; false if one is not exported.
bool hide_symbols(const std::vector<std::string>& names, bool hidden);

}  // namespace sim

#endif
