// SPDX-License-Identifier: MIT

package main

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu"
	"github.com/natten-mps/natten-mps/core/metal"
	"github.com/natten-mps/natten-mps/core/ref"
)

// backends lists the backends in the order in which "auto" tries them.
var backends = []core.Backend{cpu.New(), metal.OnSystem().Against(ref.New()), ref.New()}
