// SPDX-License-Identifier: MIT

// Package metalrt mirrors the compute part of Apple's Metal API, and of the
// PyTorch stream that a caller's work may have to be ordered with. It knows
// nothing of attention.
//
// Objects are Objective-C pointers in a struct of their protocol's name; methods
// have Apple's names in Go case and send one message each. A name that begins
// with New returns an object that the caller releases; all others return objects
// of the autorelease pool, so they are used between PushPool and Pop only.
//
// There is one code path. Only the list of libraries that Load opens differs:
// Apple's on macOS, elsewhere the one simulator that Simulate names,
// which exports the same C symbols. Nothing is opened before Load is called.
package metalrt
