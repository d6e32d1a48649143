// SPDX-License-Identifier: MIT
#include "object.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <unordered_map>
#include <unordered_set>

#include "findings.h"

namespace sim {
namespace {

constexpr size_t kSlot = 256, kSlots = size_t{1} << 22;
// A freed slot is reused only after this many others have been freed.
constexpr size_t kQuarantine = size_t{1} << 20;
enum State : uint32_t { kNever, kLive, kFreed };

struct Meta {
  std::atomic<int32_t> count;
  std::atomic<uint32_t> state;
  Class* isa;
};

struct Heap {
  char* base;
  Meta* meta;
  std::mutex mu;
  size_t next = 0;
  std::deque<uint32_t> freed;

  Heap() {
    base = static_cast<char*>(reserve(kSlot * kSlots));
    meta = static_cast<Meta*>(reserve(sizeof(Meta) * kSlots));
  }
  static void* reserve(size_t n) {
    void* p = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED) abort();
    return p;
  }
  Meta* find(const void* p) {
    size_t d = static_cast<size_t>(static_cast<const char*>(p) - base);
    return d < kSlot * kSlots && d % kSlot == 0 ? &meta[d / kSlot] : nullptr;
  }
};

Heap& heap() {
  static Heap* h = new Heap;
  return *h;
}

const char* class_name(const Meta* m) { return m->isa ? m->isa->name : "?"; }

Class* metaclass() {
  static Class* meta = static_cast<Class*>(allocate_object(new Class, nullptr));
  return meta;
}

Class* protocol_class() {
  static Class* c = [] {
    Class* p = make<Class>(*metaclass());
    p->name = "Protocol";
    return p;
  }();
  return c;
}

// Classes and protocols live forever.
bool immortal(const Meta* m) {
  return m->isa == nullptr || m->isa == metaclass() || m->isa == protocol_class();
}

// A thread's pools: objects, with a null before the first object of each pool.
struct Pools {
  std::vector<Object*> stack;
  ~Pools() {
    if (!stack.empty())
      finding("objc", "a thread ended with an autorelease pool of %zu objects not popped",
              stack.size() - 1);
  }
};
thread_local Pools pools;

}  // namespace

SEL selector(const char* name) {
  static std::mutex mu;
  static auto* names = new std::unordered_set<std::string>;
  std::lock_guard<std::mutex> g(mu);
  return names->insert(name).first->c_str();
}

void* Object::operator new(size_t size) {
  Heap& h = heap();
  if (size > kSlot) abort();
  std::lock_guard<std::mutex> g(h.mu);
  if (h.freed.size() > kQuarantine || h.next == kSlots) {
    if (h.freed.empty()) abort();
    size_t i = h.freed.front();
    h.freed.pop_front();
    return h.base + i * kSlot;
  }
  return h.base + h.next++ * kSlot;
}

void Object::operator delete(void* slot) {
  Heap& h = heap();
  Meta* m = h.find(slot);
  m->state = kFreed;
  std::lock_guard<std::mutex> g(h.mu);
  h.freed.push_back(static_cast<uint32_t>(m - h.meta));
}

void* allocate_object(Object* o, Class* isa) {
  Meta* m = heap().find(o);
  m->isa = isa;
  m->count = 1;
  m->state = kLive;
  return o;
}

bool is_object(const void* p) {
  Meta* m = heap().find(p);
  return m && m->state == kLive;
}

Class* class_of(const Object* o) {
  Meta* m = heap().find(o);
  return m && m->state == kLive ? m->isa : nullptr;
}

int reference_count(const Object* o) { return heap().find(o)->count; }

// check returns the object's record if it may be used, otherwise it records a finding.
static Meta* check(const Object* o, const char* what) {
  Meta* m = heap().find(o);
  if (!m || m->state == kNever) {
    finding("objc", "%s: %p is no object", what, static_cast<const void*>(o));
    return nullptr;
  }
  if (m->state == kFreed) {
    finding("objc", "%s: the %s at %p was deallocated (over-released)", what, class_name(m),
            static_cast<const void*>(o));
    return nullptr;
  }
  return m;
}

Object* retain(Object* o) {
  Meta* m = check(o, "retain");
  if (m && !immortal(m)) m->count++;
  return o;
}

void release(Object* o) {
  Meta* m = check(o, "release");
  if (m && !immortal(m) && --m->count == 0) delete o;
}

Object* autorelease(Object* o) {
  if (!check(o, "autorelease")) return o;
  if (pools.stack.empty())
    finding("objc", "a %s was autoreleased with no pool in place: it leaks", class_of(o)->name);
  else
    pools.stack.push_back(o);
  return o;
}

void* pool_push() {
  pools.stack.push_back(nullptr);
  return reinterpret_cast<void*>(pools.stack.size());
}

void pool_pop(void* token) {
  size_t depth = reinterpret_cast<size_t>(token);
  auto& s = pools.stack;
  if (depth == 0 || depth > s.size() || s[depth - 1] != nullptr) {
    finding("objc", "objc_autoreleasePoolPop: token %p is no pool of this thread", token);
    return;
  }
  for (size_t i = depth; i < s.size(); i++)
    if (s[i] == nullptr) {
      finding("objc", "objc_autoreleasePoolPop: a pool inside was not popped");
      break;
    }
  while (s.size() >= depth) {
    Object* o = s.back();
    s.pop_back();
    if (o) release(o);
  }
}

void MethodTable::place(Method m) {
  size_t mask = slots_.size() - 1, i = reinterpret_cast<size_t>(m.name) * 0x9e3779b97f4a7c15u >> 40;
  while (slots_[i & mask].name) i++;
  slots_[i & mask] = m;
}

void MethodTable::add(SEL name, void* imp) {
  if (Method* m = find(name)) {
    m->imp = imp;
    return;
  }
  if (2 * (used_ + 1) > slots_.size()) {
    std::vector<Method> old(slots_.size() ? 2 * slots_.size() : 16);
    old.swap(slots_);
    for (const Method& m : old)
      if (m.name) place(m);
  }
  place({name, imp, false});
  used_++;
}

Method* MethodTable::find(SEL name) {
  if (slots_.empty()) return nullptr;
  size_t mask = slots_.size() - 1;
  for (size_t i = reinterpret_cast<size_t>(name) * 0x9e3779b97f4a7c15u >> 40;; i++) {
    Method& m = slots_[i & mask];
    if (m.name == name) return &m;
    if (!m.name) return nullptr;
  }
}

Class& Class::on(const char* sel, void* imp) {
  instance.add(selector(sel), imp);
  return *this;
}

Class& Class::on_class(const char* sel, void* imp) {
  meta.add(selector(sel), imp);
  return *this;
}

bool Class::is_a(const Class* other) const {
  for (const Class* c = this; c; c = c->super)
    if (c == other) return true;
  return false;
}

std::map<std::string, Class*>& classes() {
  static auto* m = new std::map<std::string, Class*>;
  return *m;
}

Class* find_class(const std::string& name) {
  auto it = classes().find(name);
  return it == classes().end() || it->second->hidden ? nullptr : it->second;
}

// A protocol is a separate object, which classes refer to by name.
static std::map<std::string, Object*>& protocol_table() {
  static auto* m = new std::map<std::string, Object*>;
  return *m;
}

Class& define_class(const char* name, std::vector<std::string> protocols, const char* super) {
  Class* c = make<Class>(*metaclass());
  c->name = name;
  c->protocols = std::move(protocols);
  c->super = find_class(super);
  for (const std::string& p : c->protocols)
    if (!find_protocol(p)) protocol_table()[p] = make<Object>(*protocol_class());
  classes()[name] = c;
  return *c;
}

bool is_metaclass(const Class* c) { return c == metaclass(); }

std::string explain_object(const void* p) {
  Meta* m = heap().find(p);
  return m && m->state == kFreed ? std::string(" (a deallocated ") + class_name(m) + ")" : "";
}

Object* find_protocol(const std::string& name) {
  auto it = protocol_table().find(name);
  return it == protocol_table().end() ? nullptr : it->second;
}

bool conforms(Class* c, const Object* protocol) {
  for (; c && protocol; c = c->super)
    for (const std::string& p : c->protocols)
      if (find_protocol(p) == protocol) return true;
  return false;
}

void* find_method(Class* c, bool meta, SEL name) {
  for (; c; c = c->super) {
    Method* m = meta ? c->meta.find(name) : c->instance.find(name);
    if (m) return m->hidden ? nullptr : m->imp;
  }
  return nullptr;
}

std::map<std::string, uint64_t> live_by_class() {
  Heap& h = heap();
  std::lock_guard<std::mutex> g(h.mu);
  std::map<std::string, uint64_t> n;
  for (size_t i = 0; i < h.next; i++)
    if (h.meta[i].state == kLive && !immortal(&h.meta[i])) n[h.meta[i].isa->name]++;
  return n;
}

uint64_t live_objects(const std::string& name) {
  uint64_t n = 0;
  for (auto& [c, k] : live_by_class())
    if (name.empty() || c == name) n += k;
  return n;
}

}  // namespace sim
