// SPDX-License-Identifier: MIT
//
// dispatch.h - libdispatch's serial queues.
#ifndef METALSIM_DISPATCH_H
#define METALSIM_DISPATCH_H

#include <functional>
#include <mutex>
#include <string>

#include "object.h"

namespace sim {

struct SerialQueue : Object {
  std::string label;
  std::mutex mu;
  std::function<void()> after_block;  // runs on the queue at the end of each block
};

SerialQueue* make_serial_queue(const char* label);  // +1
// run_on runs work like dispatch_sync: on the caller's thread, one block at a time.
void run_on(SerialQueue* q, const std::function<void()>& work);
bool on_queue(const SerialQueue* q);  // whether the caller is in a block of q

void define_dispatch();

}  // namespace sim

#endif
