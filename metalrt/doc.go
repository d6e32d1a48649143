// SPDX-License-Identifier: MIT

// Package metalrt mirrors the compute part of Apple's Metal API, and the part of
// PyTorch's stream API that is needed to order our work with torch's. It does not
// depend on attention.
//
// Types are named after Metal's protocols and hold an Objective-C pointer. Methods
// have Apple's names in Go spelling and send one message each. A function whose name
// starts with New returns an object that the caller releases. All others return
// autoreleased objects, which may only be used between PushPool and Pop.
//
// All platforms share one code path. Only the list of libraries that Load opens
// differs: Apple's on macOS, and elsewhere the simulator that Simulate names, which
// exports the same C symbols. No library is opened before Load is called.
package metalrt
