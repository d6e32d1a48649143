// SPDX-License-Identifier: MIT
#include "foundation.h"

#include "findings.h"

namespace sim {
namespace {

constexpr uint64_t kUTF8 = 4;

String* init_string(String* s, SEL, const char* bytes, uint64_t length, uint64_t encoding) {
  if (encoding != kUTF8) {
    finding("objc", "initWithBytes:length:encoding: encoding %llu, only 4 (UTF-8) is known here",
            static_cast<unsigned long long>(encoding));
    release(s);
    return nullptr;
  }
  s->text.assign(bytes, length);
  return s;
}

}  // namespace

String* make_string(const std::string& text) {
  String* s = make<String>(*find_class("NSString"));
  s->text = text;
  return s;
}

Error* make_error(const char* domain, int64_t code, const std::string& description) {
  Error* e = make<Error>(*find_class("NSError"));
  String *d = make_string(domain), *t = make_string(description);
  e->domain = Owned<String>(d);
  e->description = Owned<String>(t);
  release(d);
  release(t);
  e->code = code;
  return e;
}

Array* make_array(const std::vector<std::string>& texts) {
  Array* a = make<Array>(*find_class("NSArray"));
  for (const std::string& t : texts) {
    String* s = make_string(t);
    a->items.emplace_back(s);
    release(s);
  }
  return a;
}

void give_error(Error** where, const char* domain, int64_t code, const std::string& description) {
  if (where) *where = static_cast<Error*>(autorelease(make_error(domain, code, description)));
}

void define_foundation() {
  define_class("NSString")
      .on("initWithBytes:length:encoding:", imp(init_string))
      .on("UTF8String", METHOD(String* s, SEL) {
    return s->text.c_str(); }))
      .on("length", METHOD(String* s, SEL) {
    return uint64_t(s->text.size()); }))
      .on("lengthOfBytesUsingEncoding:", METHOD(String* s, SEL, uint64_t encoding) {
    return encoding == kUTF8 ? uint64_t(s->text.size()) : 0;
      }))
      .on_class("alloc", METHOD(Class* c, SEL) {
    return make<String>(*c); }))
      .on_class("stringWithUTF8String:", METHOD(Class*, SEL, const char* t) {
    return autorelease(make_string(t));
      }));
  define_class("NSError")
      .on("localizedDescription", METHOD(Error* e, SEL) {
    return e->description.get(); }))
      .on("domain", METHOD(Error* e, SEL) {
    return e->domain.get(); }))
      .on("code", METHOD(Error* e, SEL) {
    return e->code; }));
  define_class("NSArray")
      .on("count", METHOD(Array* a, SEL) {
    return uint64_t(a->items.size()); }))
      .on("objectAtIndex:", METHOD(Array* a, SEL, uint64_t i) -> Object* {
    if (i < a->items.size()) return a->items[i].get();
    finding("objc", "objectAtIndex: %llu of %zu", static_cast<unsigned long long>(i),
            a->items.size());
    return nullptr;
      }));
}

}  // namespace sim
