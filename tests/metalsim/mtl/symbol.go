// SPDX-License-Identifier: MIT

package mtl

import (
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

type lineEntry struct {
	pc   uint64
	file string
	line int
}

var pcMark = regexp.MustCompile(`@\{([0-9a-f]+)\}`)

// symbolize puts file and line where the runtime left code addresses.
func (l *Library) symbolize(s string) string {
	return pcMark.ReplaceAllStringFunc(s, func(m string) string {
		pc, _ := strconv.ParseUint(m[2:len(m)-1], 16, 64)
		if l.lines == nil {
			l.lines = []lineEntry{}
			if f, err := elf.Open(l.so); err == nil {
				defer f.Close()
				if d, err := f.DWARF(); err == nil {
					r := d.Reader()
					for e, _ := r.Next(); e != nil; e, _ = r.Next() {
						if e.Tag == dwarf.TagCompileUnit {
							if lr, err := d.LineReader(e); err == nil && lr != nil {
								var le dwarf.LineEntry
								for lr.Next(&le) == nil {
									if le.EndSequence {
										l.lines = append(l.lines, lineEntry{le.Address, "", 0})
									} else {
										l.lines = append(l.lines, lineEntry{le.Address, le.File.Name, le.Line})
									}
								}
							}
						}
						r.SkipChildren()
					}
				}
			}
		}
		var best lineEntry
		for _, e := range l.lines {
			if e.pc <= pc && e.pc >= best.pc {
				best = e
			}
		}
		if best.file == "" {
			return "pc " + m[2:len(m)-1]
		}
		return fmt.Sprintf("%s:%d", best.file[strings.LastIndexByte(best.file, '/')+1:], best.line)
	})
}
