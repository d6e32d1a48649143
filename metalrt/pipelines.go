// SPDX-License-Identifier: MIT

package metalrt

import "sync"

// Pipelines keeps what was compiled, by a key that spells its source and options.
// A key is compiled once, however many goroutines ask at the same time; a failure
// is kept as well, since the same source fails again.
type Pipelines struct {
	entries sync.Map // string -> *pipelineEntry
}

type pipelineEntry struct {
	once     sync.Once
	pipeline ComputePipelineState
	err      error
}

// Get returns the pipeline of the key, made by compile if it is the first.
func (p *Pipelines) Get(key string, compile func() (ComputePipelineState, error)) (ComputePipelineState, error) {
	e, ok := p.entries.Load(key)
	if !ok {
		e, _ = p.entries.LoadOrStore(key, new(pipelineEntry))
	}
	entry := e.(*pipelineEntry)
	entry.once.Do(func() { entry.pipeline, entry.err = compile() })
	return entry.pipeline, entry.err
}

// Compile makes the pipeline of one kernel of a source.
func (d Device) Compile(source, kernel string, options CompileOptions) (ComputePipelineState, error) {
	library, err := d.NewLibraryWithSource(source, options)
	if err != nil {
		return ComputePipelineState{}, err
	}
	defer library.Release()
	function, err := library.NewFunction(kernel)
	if err != nil {
		return ComputePipelineState{}, err
	}
	defer function.Release()
	return d.NewComputePipelineState(function)
}

// EncodeAndWait runs dispatches on a queue of the caller's own and waits for them.
func (q CommandQueue) EncodeAndWait(encoding Encoding) error {
	defer PushPool().Pop()
	b, err := q.CommandBuffer()
	if err != nil {
		return err
	}
	e, err := b.ComputeCommandEncoder()
	if err != nil {
		return err
	}
	err = encodeAndEnd(e, encoding)
	if err != nil {
		return err
	}
	b.Commit()
	b.WaitUntilCompleted()
	if b.Status() != CommandBufferStatusCompleted {
		return b.Err()
	}
	return nil
}

// encodeAndEnd ends the encoder even if the encoding fails or panics, because an
// open one may not be released.
func encodeAndEnd(e ComputeCommandEncoder, encoding Encoding) error {
	defer e.EndEncoding()
	return encoding.Encode(e)
}
