// SPDX-License-Identifier: MIT

package compile

import (
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"path"
	"regexp"
	"strconv"
)

var pcMark = regexp.MustCompile(`@\{([0-9a-f]+)\}`)

// Symbolize replaces the code addresses that the executor left in a message by file
// and line.
func Symbolize(so, message string) string {
	if !pcMark.MatchString(message) {
		return message
	}
	lines := lineTable(so)
	return pcMark.ReplaceAllStringFunc(message, func(m string) string {
		pc, _ := strconv.ParseUint(m[2:len(m)-1], 16, 64)
		var best dwarf.LineEntry
		for _, e := range lines {
			if e.Address <= pc && e.Address >= best.Address {
				best = e
			}
		}
		if best.EndSequence || best.File == nil {
			return "pc " + m[2:len(m)-1]
		}
		return fmt.Sprintf("%s:%d", path.Base(best.File.Name), best.Line)
	})
}

func lineTable(so string) (lines []dwarf.LineEntry) {
	f, err := elf.Open(so)
	if err != nil {
		return nil
	}
	defer f.Close()
	d, err := f.DWARF()
	if err != nil {
		return nil
	}
	r := d.Reader()
	for e, _ := r.Next(); e != nil; e, _ = r.Next() {
		if e.Tag == dwarf.TagCompileUnit {
			lines = append(lines, unitLines(d, e)...)
		}
		r.SkipChildren()
	}
	return lines
}

func unitLines(d *dwarf.Data, unit *dwarf.Entry) (lines []dwarf.LineEntry) {
	lr, err := d.LineReader(unit)
	if err != nil || lr == nil {
		return nil
	}
	var e dwarf.LineEntry
	for lr.Next(&e) == nil {
		lines = append(lines, e)
	}
	return lines
}
