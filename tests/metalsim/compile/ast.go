// SPDX-License-Identifier: MIT

package compile

import (
	"regexp"
	"strings"
)

// node is a node of clang's -ast-dump, with its place in the source.
type node struct {
	kind, id, rest string // "VarDecl", "0x55fe", what follows the location
	prev           string // the id of an earlier declaration of the same name
	where          string // file:line:column
	named          string // file:line of its name
	parent         *node
	children       []*node
}

var (
	nodeLine = regexp.MustCompile("^([| `-]*)(\\w+)(?: (0x[0-9a-f]+))?(?: parent 0x[0-9a-f]+)?(?: prev (0x[0-9a-f]+))?(?: (.*))?$")
	place    = regexp.MustCompile(`^(?:(<invalid sloc>)|line:(\d+):(\d+)|col:(\d+)|(.*?):(\d+):(\d+))`)
)

// cursor tracks the locations of a dump, which omits what has not changed.
type cursor struct{ file, line string }

// read parses a location at the beginning of the text and returns what follows.
func (c *cursor) read(text string) (where, rest string) {
	m := place.FindStringSubmatch(text)
	if m == nil {
		return "", text
	}
	rest = text[len(m[0]):]
	column := m[4]
	switch {
	case m[1] != "":
		return "", rest
	case m[2] != "":
		c.line, column = m[2], m[3]
	case m[5] != "":
		c.file, c.line, column = m[5], m[6], m[7]
	}
	return c.file + ":" + c.line + ":" + column, rest
}

// location parses <from, to> and the name's location at the beginning of the text.
func (c *cursor) location(text string) (where, named, rest string) {
	if !strings.HasPrefix(text, "<") {
		return "", "", text
	}
	where, rest = c.read(text[1:])
	if next, found := strings.CutPrefix(rest, ", "); found {
		_, rest = c.read(next)
	}
	rest = strings.TrimPrefix(rest, ">")
	if next, found := strings.CutPrefix(rest, " "); found {
		rest = next
		if m := place.FindString(rest); m != "" && !strings.ContainsAny(m, "'(") {
			_, rest = c.read(rest)
			named = c.file + ":" + c.line
		}
	}
	return where, named, strings.TrimSpace(rest)
}

// parseAST returns the top-level declarations of a dump that begin in the source, that
// is, after the shim's header and before the generated entries.
func parseAST(dump, header string) []*node {
	var all []*node
	var at cursor
	stack := []*node{{}}
	for line := range strings.SplitSeq(afterHeader(dump, header), "\n") {
		m := nodeLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		depth := len(m[1]) / 2
		n := &node{kind: m[2], id: m[3], prev: m[4]}
		n.where, n.named, n.rest = at.location(m[5])
		if depth == 0 || depth > len(stack) {
			continue // a kind that the dump indents differently
		}
		stack = append(stack[:depth], n)
		if depth == 1 {
			if at.file != "" && !strings.HasPrefix(at.file, header) && !strings.HasPrefix(at.file, "<") {
				all = append(all, n)
			}
			continue
		}
		n.parent = stack[depth-1]
		n.parent.children = append(n.parent.children, n)
	}
	return all
}

// afterHeader drops the header's declarations, which are most of a dump: those before
// the first one whose location names another file.
func afterHeader(dump, header string) string {
	for at := 0; at < len(dump); {
		end := strings.IndexByte(dump[at:], '\n')
		if end < 0 {
			break
		}
		line := dump[at : at+end]
		if strings.HasPrefix(line, "|-") || strings.HasPrefix(line, "`-") {
			_, from, _ := strings.Cut(line, "<")
			here := strings.HasPrefix(from, "line:") || strings.HasPrefix(from, "col:") || strings.HasPrefix(from, "<") || strings.HasPrefix(from, header)
			if !here {
				return dump[at:]
			}
		}
		at += end + 1
	}
	return ""
}

// walk calls visit for a node and all nodes below it.
func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, c := range n.children {
		c.walk(visit)
	}
}

var quoted = regexp.MustCompile(`'([^']*)'(?::'([^']*)')?`)

// written returns a node's type as spelled in the source, and resolved.
func (n *node) types() (written, resolved string) {
	m := quoted.FindStringSubmatch(n.rest)
	if m == nil {
		return "", ""
	}
	if m[2] == "" {
		return m[1], m[1]
	}
	return m[1], m[2]
}

// child returns the i-th child, or an empty node.
func (n *node) child(i int) *node {
	if i < len(n.children) {
		return n.children[i]
	}
	return &node{}
}
