// SPDX-License-Identifier: MIT

package main

// #include "header.h"
import "C"

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/metal"
	"github.com/natten-mps/natten-mps/metalrt"
)

//export natten_mps_stream_set
func natten_mps_stream_set(options *C.natten_mps_stream_options, out *C.natten_mps_error) C.int32_t {
	return guarded(out, func() error {
		var c streamOptionsCopy
		if err := load(&c, options, &streamOptionsLayout); err != nil {
			return err
		}
		if c.reserved != 0 {
			return invalid("reserved is %d (want 0)", c.reserved)
		}
		if c.stream < C.NATTEN_MPS_STREAM_OWN || c.stream > C.NATTEN_MPS_STREAM_TORCH_QUEUE {
			return invalid("stream is %d (want %d to %d)",
				c.stream, C.NATTEN_MPS_STREAM_OWN, C.NATTEN_MPS_STREAM_TORCH_QUEUE)
		}
		if (c.stream == C.NATTEN_MPS_STREAM_OWN) != (c.torchLibrary == 0) {
			return invalid("torch_library is to be given with torch's streams, and only with them")
		}
		return setStream(&c)
	})
}

func setStream(c *streamOptionsCopy) error {
	switch c.stream {
	case C.NATTEN_MPS_STREAM_TORCH:
		return metal.UseTorch(textAt(c.torchLibrary), metalrt.CommandBlock)
	case C.NATTEN_MPS_STREAM_TORCH_QUEUE:
		return metal.UseTorch(textAt(c.torchLibrary), metalrt.DispatchQueue)
	}
	gpu, err := metal.System()
	if err != nil {
		return core.Errorf(core.Unsupported, "%v", err)
	}
	gpu.UseOwnQueue()
	return nil
}
