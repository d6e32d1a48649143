// SPDX-License-Identifier: MIT
//
// object.h - the part of Objective-C that metalrt uses: objects with a class, a table
// of methods by selector, reference counts, autorelease pools. Every misuse is a
// finding (findings.h).
#ifndef METALSIM_OBJECT_H
#define METALSIM_OBJECT_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace sim {

using SEL = const char*;  // interned: equal names are equal pointers
SEL selector(const char* name);

struct Class;

// Objects are in fixed slots of one reserved range of memory, so that objects can be
// distinguished from other numbers, and freed objects from live ones.
class Object {
 public:
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;
  static void* operator new(size_t size);
  static void operator delete(void* slot);
};

struct Method {
  SEL name;
  void* imp;
  bool hidden;
};

// A table of methods by selector, with open addressing because each message looks up here.
class MethodTable {
 public:
  void add(SEL name, void* imp);
  Method* find(SEL name);

 private:
  void place(Method m);
  std::vector<Method> slots_;
  size_t used_ = 0;
};

struct Class : Object {
  const char* name = nullptr;
  Class* super = nullptr;
  MethodTable instance, meta;
  std::vector<std::string> protocols;
  bool hidden = false;

  Class& on(const char* sel, void* imp);  // an instance method
  Class& on_class(const char* sel, void* imp);
  bool is_a(const Class* other) const;
};

// A captureless lambda as the implementation of a method.
template <class R, class... A>
void* imp(R (*f)(A...)) {
  return reinterpret_cast<void*>(f);
}
#define METHOD(...) ::sim::imp(+[](__VA_ARGS__)

Class& define_class(const char* name, std::vector<std::string> protocols = {},
                    const char* super = "NSObject");
Class* find_class(const std::string& name);  // null: none, or hidden
std::map<std::string, Class*>& classes();

// make constructs an object of a class with one reference, the caller's.
template <class T, class... A>
T* make(Class& isa, A&&... args);

Object* find_protocol(const std::string& name);  // null: no class has it
bool conforms(Class* c, const Object* protocol);

bool is_object(const void* p);  // a live one, at its first byte
bool is_metaclass(const Class* c);
std::string explain_object(const void* p);  // describes an object that was freed, if p was one
Class* class_of(const Object* o);
void* allocate_object(Object* o, Class* isa);
int reference_count(const Object* o);

// retain and release check the object; a finding names `who`.
Object* retain(Object* o);
void release(Object* o);
Object* autorelease(Object* o);

void* pool_push();
void pool_pop(void* token);

void* find_method(Class* c, bool meta, SEL name);
uint64_t live_objects(const std::string& class_name);  // "" counts all but classes
std::map<std::string, uint64_t> live_by_class();

template <class T, class... A>
T* make(Class& isa, A&&... args) {
  static_assert(sizeof(T) <= 256, "an object fits its slot");
  T* o = new T(static_cast<A&&>(args)...);
  allocate_object(o, &isa);
  return o;
}

// Owned holds a reference during its lifetime.
template <class T>
class Owned {
 public:
  Owned() = default;
  explicit Owned(T* o) : o_(o) {
    if (o_) retain(o_);
  }
  Owned(Owned&& other) noexcept : o_(other.o_) { other.o_ = nullptr; }
  Owned(const Owned& other) : Owned(other.o_) {}
  Owned& operator=(Owned other) {
    T* t = o_;
    o_ = other.o_;
    other.o_ = t;
    return *this;
  }
  ~Owned() {
    if (o_) release(o_);
  }
  T* get() const { return o_; }
  T* operator->() const { return o_; }
  explicit operator bool() const { return o_ != nullptr; }

 private:
  T* o_ = nullptr;
};

}  // namespace sim

#endif
