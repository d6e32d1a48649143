// SPDX-License-Identifier: MIT

package main

// #include <pthread.h>
// #include <stdlib.h>
//
// static void *nothing(void *p) { return p; }
//
// // Starts threads and waits until they end; returns how many the system granted.
// static int natten_start(int count) {
//   pthread_t *threads = malloc(count * sizeof *threads);
//   int i, n = 0;
//   while (threads != NULL && n < count && pthread_create(&threads[n], NULL, nothing, NULL) == 0) n++;
//   for (i = 0; i < n; i++) pthread_join(threads[i], NULL);
//   free(threads);
//   return n;
// }
import "C"

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// granted records how many threads the system is known to start in addition to the
// caller's. Go starts threads when it has work for them, and ends the process if it
// cannot.
var granted struct {
	sync.Mutex
	count atomic.Int32
	// processors is the GOMAXPROCS to restore when the system starts threads again, or 0.
	// Until then GOMAXPROCS is 1, so that the garbage collector starts no threads either.
	processors atomic.Int32
}

// processors returns the largest number of threads of a run. More would only take turns.
func processors() int {
	if n := granted.processors.Load(); n != 0 {
		return int(n)
	}
	return runtime.GOMAXPROCS(0)
}

// grantedThreads returns n if the system starts that many threads, and otherwise 1.
func grantedThreads(n int) int {
	if n <= 1 || int(granted.count.Load()) >= n-1 {
		return n
	}
	granted.Lock()
	defer granted.Unlock()
	if started := int(C.natten_start(C.int(n - 1))); started < n-1 {
		granted.processors.CompareAndSwap(0, int32(runtime.GOMAXPROCS(1)))
		return 1
	}
	if before := granted.processors.Swap(0); before != 0 {
		runtime.GOMAXPROCS(int(before))
	}
	granted.count.Store(int32(n - 1))
	return n
}
