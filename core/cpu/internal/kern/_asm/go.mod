module github.com/natten-mps/natten-mps/core/cpu/internal/kern/_asm

go 1.26

require (
	github.com/mmcloughlin/avo v0.5.0
	github.com/natten-mps/natten-mps v0.0.0
)

require (
	github.com/x448/float16 v0.8.4 // indirect
	golang.org/x/mod v0.6.0 // indirect
	golang.org/x/sys v0.42.0 // indirect
	golang.org/x/tools v0.2.0 // indirect
)

replace github.com/natten-mps/natten-mps => ../../../../..
