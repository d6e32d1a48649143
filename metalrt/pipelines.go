// SPDX-License-Identifier: MIT

package metalrt

import "sync"

// Pipelines caches compiled pipelines by a key that identifies source and options.
// Each key is compiled once, even if several goroutines ask at the same time.
// Failures are cached as well, since the same source would fail again.
type Pipelines struct {
	entries sync.Map // string -> *pipelineEntry
}

type pipelineEntry struct {
	once     sync.Once
	pipeline ComputePipelineState
	err      error
}

// Get returns the pipeline for key, and calls compile if there is none yet.
func (p *Pipelines) Get(key string, compile func() (ComputePipelineState, error)) (ComputePipelineState, error) {
	e, ok := p.entries.Load(key)
	if !ok {
		e, _ = p.entries.LoadOrStore(key, new(pipelineEntry))
	}
	entry := e.(*pipelineEntry)
	entry.once.Do(func() { entry.pipeline, entry.err = compile() })
	return entry.pipeline, entry.err
}

// Compile compiles one kernel of a source.
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

// EncodeAndWait runs an encoding's dispatches on q and waits for them.
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

// encodeAndEnd ends the encoder even if the encoding fails or panics, because an open
// encoder must not be released.
func encodeAndEnd(e ComputeCommandEncoder, encoding Encoding) error {
	defer e.EndEncoding()
	return encoding.Encode(e)
}
