// SPDX-License-Identifier: MIT

package main

// #include <pthread.h>
// #include <stdlib.h>
//
// static void *nothing(void *p) { return p; }
//
// // Starts threads and waits for their ends; returns how many the system granted.
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

// granted is how many threads the system is known to start beside the caller's. Go starts
// them when it has work for them, and where it cannot, it ends the process.
var granted struct {
	sync.Mutex
	count atomic.Int32
	// processors that Go is to use when the system starts threads again, or 0 if it does.
	// Until then Go has one, so that the garbage collector starts no threads either.
	processors atomic.Int32
}

// processors is the most threads of a run: more would take turns.
func processors() int {
	if n := granted.processors.Load(); n != 0 {
		return int(n)
	}
	return runtime.GOMAXPROCS(0)
}

// grantedThreads is the number of threads, up to n, that a run may use.
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
