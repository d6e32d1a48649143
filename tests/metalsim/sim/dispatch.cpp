// SPDX-License-Identifier: MIT
#include "dispatch.h"

#include <algorithm>
#include <vector>

#include "export.h"
#include "findings.h"

namespace sim {
namespace {
thread_local std::vector<const SerialQueue*> held;
}

SerialQueue* make_serial_queue(const char* label) {
  SerialQueue* q = make<SerialQueue>(*find_class("OS_dispatch_queue_serial"));
  q->label = label ? label : "";
  return q;
}

bool on_queue(const SerialQueue* q) { return std::find(held.begin(), held.end(), q) != held.end(); }

void run_on(SerialQueue* q, const std::function<void()>& work) {
  if (on_queue(q)) {
    finding("stream", "dispatch_sync on queue %s from a block of it: a deadlock", q->label.c_str());
    work();
    return;
  }
  std::lock_guard<std::mutex> g(q->mu);
  held.push_back(q);
  work();
  if (q->after_block) q->after_block();
  held.pop_back();
}

void define_dispatch() { define_class("OS_dispatch_queue_serial"); }

}  // namespace sim

API sim::Object* dispatch_queue_create(const char* label, void*) {
  return sim::make_serial_queue(label);
}

API void dispatch_release(sim::Object* o) { sim::release(o); }

API void dispatch_sync_f(sim::Object* o, void* context, void (*work)(void*)) {
  auto* q = sim::is_object(o) ? dynamic_cast<sim::SerialQueue*>(o) : nullptr;
  if (!q) {
    sim::finding("stream", "dispatch_sync_f: %p is no dispatch queue", static_cast<void*>(o));
    return;
  }
  sim::run_on(q, [&] { work(context); });
}

// A function of libSystem: the size of a heap block, or 0 for any other address.
// Objective-C objects are heap blocks; addresses inside one and the contents of
// buffers are not.
API size_t malloc_size(const void* p) { return sim::is_object(p) ? 256 : 0; }
