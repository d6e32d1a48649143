// SPDX-License-Identifier: MIT

// Package metalrt mirrors the compute part of Apple's Metal API. It knows
// nothing of attention.
package metalrt
