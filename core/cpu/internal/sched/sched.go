// SPDX-License-Identifier: MIT

// Package sched distributes work over the processor's cores. It knows nothing about attention:
//
//   - a [Job] is a set of numbered tasks, which the goroutines of a pool take in order;
//   - a [Stealable] is a range of rows that its owner works through from the front, while
//     other goroutines may steal from the back; [Victims] holds all of them in a job;
//   - [Prefault] maps the pages of memory that is about to be written.
package sched
