// SPDX-License-Identifier: MIT
#ifndef METALSIM_FOUNDATION_H
#define METALSIM_FOUNDATION_H

#include <string>
#include <vector>

#include "object.h"

namespace sim {

struct String : Object {
  std::string text;
};

struct Error : Object {
  Owned<String> description, domain;
  int64_t code = 0;
};

struct Array : Object {
  std::vector<Owned<Object>> items;
};

String* make_string(const std::string& text);                                         // +1
Error* make_error(const char* domain, int64_t code, const std::string& description);  // +1
Array* make_array(const std::vector<std::string>& texts);                             // +1

// give_error stores an autoreleased error if the caller passed a place for it.
void give_error(Error** where, const char* domain, int64_t code, const std::string& description);

void define_root();
void define_foundation();

}  // namespace sim

#endif
