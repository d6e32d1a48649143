// SPDX-License-Identifier: MIT
//
// objc.cpp - libobjc's C functions and objc_msgSend.
#include <cstdlib>
#include <cstring>

#include "export.h"
#include "findings.h"
#include "object.h"

#if !defined(__x86_64__) && !defined(__aarch64__)
#error "objc_msgSend is written for x86-64 and arm64"
#endif

using sim::Class;
using sim::Object;
using sim::SEL;

namespace {
uint64_t nothing() { return 0; }
}  // namespace

// The target of objc_msgSend. A message that raises an exception on a Mac is a
// finding and returns 0.
extern "C" __attribute__((visibility("hidden"))) void* metalsim_method(Object* self, SEL name) {
  sim::count(sim::kSends);
  if (!sim::is_object(self)) {
    sim::finding("objc", "message %s to %p, which is no live object%s", name,
                 static_cast<void*>(self), sim::explain_object(self).c_str());
    return reinterpret_cast<void*>(nothing);
  }
  Class* c = sim::class_of(self);
  bool meta = sim::is_metaclass(c);
  if (meta) c = static_cast<Class*>(self);
  if (void* f = sim::find_method(c, meta, name)) return f;
  sim::finding("objc", "%c[%s %s]: unrecognized selector", meta ? '+' : '-', c->name, name);
  return reinterpret_cast<void*>(nothing);
}

// objc_msgSend looks up the method and jumps to it with all argument registers and the
// stack unchanged; a message to nil returns 0.
#if defined(__x86_64__)
asm(R"(
.text
.globl objc_msgSend
.type objc_msgSend,@function
objc_msgSend:
  testq %rdi, %rdi
  jz 1f
  pushq %rbp
  movq %rsp, %rbp
  pushq %rdi
  pushq %rsi
  pushq %rdx
  pushq %rcx
  pushq %r8
  pushq %r9
  pushq %rax
  subq $136, %rsp
  movups %xmm0, (%rsp)
  movups %xmm1, 16(%rsp)
  movups %xmm2, 32(%rsp)
  movups %xmm3, 48(%rsp)
  movups %xmm4, 64(%rsp)
  movups %xmm5, 80(%rsp)
  movups %xmm6, 96(%rsp)
  movups %xmm7, 112(%rsp)
  call metalsim_method
  movq %rax, %r11
  movups (%rsp), %xmm0
  movups 16(%rsp), %xmm1
  movups 32(%rsp), %xmm2
  movups 48(%rsp), %xmm3
  movups 64(%rsp), %xmm4
  movups 80(%rsp), %xmm5
  movups 96(%rsp), %xmm6
  movups 112(%rsp), %xmm7
  addq $136, %rsp
  popq %rax
  popq %r9
  popq %r8
  popq %rcx
  popq %rdx
  popq %rsi
  popq %rdi
  popq %rbp
  jmp *%r11
1:
  xorl %eax, %eax
  xorl %edx, %edx
  xorps %xmm0, %xmm0
  ret
.size objc_msgSend, .-objc_msgSend
)");
#else
asm(R"(
.text
.globl objc_msgSend
.type objc_msgSend,@function
objc_msgSend:
  cbz x0, 1f
  stp x29, x30, [sp, #-16]!
  mov x29, sp
  sub sp, sp, #208
  stp x0, x1, [sp]
  stp x2, x3, [sp, #16]
  stp x4, x5, [sp, #32]
  stp x6, x7, [sp, #48]
  str x8, [sp, #64]
  stp q0, q1, [sp, #80]
  stp q2, q3, [sp, #112]
  stp q4, q5, [sp, #144]
  stp q6, q7, [sp, #176]
  bl metalsim_method
  mov x16, x0
  ldp x0, x1, [sp]
  ldp x2, x3, [sp, #16]
  ldp x4, x5, [sp, #32]
  ldp x6, x7, [sp, #48]
  ldr x8, [sp, #64]
  ldp q0, q1, [sp, #80]
  ldp q2, q3, [sp, #112]
  ldp q4, q5, [sp, #144]
  ldp q6, q7, [sp, #176]
  add sp, sp, #208
  ldp x29, x30, [sp], #16
  br x16
1:
  mov x1, xzr
  movi d0, #0
  ret
.size objc_msgSend, .-objc_msgSend
)");
#endif

API void* sel_registerName(const char* name) { return const_cast<char*>(sim::selector(name)); }
API const char* sel_getName(SEL s) { return s; }
API Class* objc_getClass(const char* name) { return sim::find_class(name); }
API Class** objc_copyClassList(unsigned* count) {
  auto& all = sim::classes();
  auto** list = static_cast<Class**>(calloc(all.size() + 1, sizeof(Class*)));
  unsigned n = 0;
  for (auto& [name, c] : all) list[n++] = c;
  if (count) *count = n;
  return list;
}
API Object* objc_getProtocol(const char* name) { return sim::find_protocol(name); }
API Class* object_getClass(Object* o) { return o ? sim::class_of(o) : nullptr; }
API const char* class_getName(Class* c) { return c ? c->name : "nil"; }
API bool class_respondsToSelector(Class* c, SEL s) {
  return c && sim::find_method(c, false, s) != nullptr;
}
API bool class_conformsToProtocol(Class* c, Object* p) { return sim::conforms(c, p); }
API void* objc_autoreleasePoolPush() { return sim::pool_push(); }
API void objc_autoreleasePoolPop(void* token) { sim::pool_pop(token); }
API Object* objc_retain(Object* o) { return o ? sim::retain(o) : o; }
API void objc_release(Object* o) {
  if (o) sim::release(o);
}
API Object* objc_autorelease(Object* o) { return o ? sim::autorelease(o) : o; }

namespace sim {

void define_root() {
  define_class("NSObject", {"NSObject"}, "")
      .on("retain", METHOD(Object* o, SEL) {
    return retain(o); }))
      .on("release", METHOD(Object* o, SEL) {
    release(o); }))
      .on("autorelease", METHOD(Object* o, SEL) {
    return autorelease(o); }))
      .on("retainCount", METHOD(Object* o, SEL) {
    return uint64_t(reference_count(o)); }))
      .on("class", METHOD(Object* o, SEL) {
    return class_of(o); }))
      .on("isKindOfClass:", METHOD(Object* o, SEL, Class* c) {
    return c && class_of(o)->is_a(c); }))
      .on("respondsToSelector:", METHOD(Object* o, SEL, SEL s) {
    return find_method(class_of(o), false, s) != nullptr;
      }))
      .on("conformsToProtocol:", METHOD(Object* o, SEL, Object* p) {
    return conforms(class_of(o), p); }))
      .on_class("class", METHOD(Object* o, SEL) {
    return o; }))
      .on_class("respondsToSelector:", METHOD(Object* o, SEL, SEL s) {
    return find_method(static_cast<Class*>(o), true, s) != nullptr;
      }))
      .on_class("instancesRespondToSelector:", METHOD(Object* o, SEL, SEL s) {
    return find_method(static_cast<Class*>(o), false, s) != nullptr;
      }));
}

}  // namespace sim
