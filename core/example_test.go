// SPDX-License-Identifier: MIT

package core_test

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu"
	"github.com/natten-mps/natten-mps/core/ref"
)

// This example shows which keys each query sees. Every query is 1, every key is its own
// position, and there is one channel.
func Example() {
	plan, err := core.NewPlan([]core.Backend{cpu.New(), ref.New()}, core.Auto, core.Problem{
		Op: core.QKForward, DType: core.Float32, Rank: 1, Batch: 1, Heads: 1, HeadDim: 1,
		Axes: [3]core.Axis{{Length: 6, Kernel: 3, Dilation: 2}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	query := []float32{1, 1, 1, 1, 1, 1}
	key := []float32{0, 1, 2, 3, 4, 5}
	attn := make([]float32, 6*3)

	// Strides follow the layout [batch, length, heads, channels].
	b := core.Buffers{Threads: 1}
	b.Tensors[core.Query] = core.Tensor{Data: core.AddressOf(unsafe.Pointer(&query[0])), Strides: [6]int64{6, 1, 1, 1}}
	b.Tensors[core.Key] = core.Tensor{Data: core.AddressOf(unsafe.Pointer(&key[0])), Strides: [6]int64{6, 1, 1, 1}}
	b.Tensors[core.Attn] = core.Tensor{Data: core.AddressOf(unsafe.Pointer(&attn[0])), Strides: [6]int64{18, 3, 3, 1}}
	if err := plan.Run(&b); err != nil {
		fmt.Println(err)
		return
	}
	runtime.KeepAlive(query) // an address does not keep memory alive
	runtime.KeepAlive(key)
	for i := range 6 {
		fmt.Println(i, "sees", attn[3*i:3*i+3])
	}
	// Output:
	// 0 sees [0 2 4]
	// 1 sees [1 3 5]
	// 2 sees [0 2 4]
	// 3 sees [1 3 5]
	// 4 sees [0 2 4]
	// 5 sees [1 3 5]
}
