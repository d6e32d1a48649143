// SPDX-License-Identifier: MIT

package lower

import (
	"regexp"
	"strconv"
	"strings"
)

// Kind is the kind of a token.
type Kind int

// The kinds.
const (
	Ident Kind = iota
	Number
	Str
	Punct
	Space // white space, newlines, line markers, pragmas
)

// Token is a piece of the text.
type Token struct {
	Kind Kind
	Text string
	Line int    // line in File, according to the line markers
	File string // likewise
}

var marker = regexp.MustCompile(`^#\s*(?:line\s+)?(\d+)\s+"([^"]*)"`)

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// Tokenize splits a text into tokens, whose concatenation is the text.
func Tokenize(text, file string) []Token {
	var out []Token
	line := 1
	add := func(k Kind, s string) {
		out = append(out, Token{k, s, line, file})
		line += strings.Count(s, "\n")
	}
	bol := true
	for i := 0; i < len(text); {
		c := text[i]
		j := i + 1
		switch {
		case c == '#' && bol:
			for j < len(text) && text[j] != '\n' {
				j++
			}
			if j < len(text) {
				j++
			}
			add(Space, text[i:j])
			if m := marker.FindStringSubmatch(text[i:j]); m != nil {
				line, _ = strconv.Atoi(m[1])
				file = m[2]
			}
			i = j
			continue
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			for j < len(text) && strings.IndexByte(" \t\n\r", text[j]) >= 0 {
				if text[j-1] == '\n' {
					break
				}
				j++
			}
			add(Space, text[i:j])
		case c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			for j < len(text) && (text[j] == '_' || text[j] >= '0' && text[j] <= '9' || text[j] >= 'a' && text[j] <= 'z' || text[j] >= 'A' && text[j] <= 'Z') {
				j++
			}
			add(Ident, text[i:j])
		case c >= '0' && c <= '9' || c == '.' && i+1 < len(text) && text[i+1] >= '0' && text[i+1] <= '9':
			for j < len(text) && (text[j] == '.' || text[j] == '_' || text[j] >= '0' && text[j] <= '9' || text[j] >= 'a' && text[j] <= 'z' || text[j] >= 'A' && text[j] <= 'Z' ||
				text[j] == '\'' && j+1 < len(text) && isWord(text[j+1]) || (text[j] == '+' || text[j] == '-') && strings.IndexByte("eE", text[j-1]) >= 0 && !strings.HasPrefix(text[i:j], "0x")) {
				j++
			}
			add(Number, text[i:j])
		case c == '"' || c == '\'':
			for j < len(text) && text[j] != c {
				if text[j] == '\\' {
					j++
				}
				j++
			}
			j = min(j+1, len(text)) // clang refuses one that does not end
			add(Str, text[i:j])
		default:
			if c == ':' && j < len(text) && text[j] == ':' {
				j++
			}
			add(Punct, text[i:j])
		}
		if k := strings.LastIndexByte(text[i:j], '\n'); k >= 0 {
			bol = true
		} else if strings.TrimLeft(text[i:j], " \t") != "" {
			bol = false
		}
		i = j
	}
	return out
}
