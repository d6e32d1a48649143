// SPDX-License-Identifier: MIT

// Package sched runs work on the processor's cores and knows nothing of what it is:
//
//   - a [Job] is numbered tasks, which the goroutines of one pool take as they come;
//   - a [Stealable] is a range of rows that one goroutine works on from the front, and
//     of which another one may take the back; [Victims] are those of a job;
//   - [Prefault] asks for the pages of memory that is about to be written.
package sched
