// SPDX-License-Identifier: MIT

// Package shell tests that the project's shell scripts run with what macOS has: bash 3.2
// and BSD's tools.
package shell

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = "../.."

// rule is a feature that a Mac's bash or tools lack, with an example of its use.
type rule struct{ what, pattern, sample string }

// newer lists features that bash gained after 3.2 (its NEWS, 4.0 to 5.2).
var newer = []rule{
	{"mapfile, readarray, coproc", `\b(mapfile|readarray|coproc)\b`, `mapfile -t x < <(ls)`},
	{"declare -A -g -n -l -u", `\b(declare|local|typeset)\s+-[a-zA-Z]*[AgnluI]`, `declare -gA table`},
	{"export and readonly of such", `\b(export|readonly)\s+-[a-zA-Z]*A`, `readonly -A table`},
	{"${x^^}, ${x,,}", `\$\{!?\w+(\[[^]]*\])?(\^|,)`, `echo "${name,,}"`},
	{"${x@Q}", `\$\{!?\w+(\[[^]]*\])?@[A-Za-z]\}`, `echo "${args[@]@Q}"`},
	{"negative index", `\w\[-\d+\]`, `echo "${list[-1]}"`},
	{"negative length", `\$\{\w+:[^}:]*:\s*-`, `echo "${name:0:-1}"`},
	{"|&", `\|&`, `make |& cat`},
	{"&>>", `&>>`, `make &>>log`},
	{";& and ;;&", `;&`, `a) echo ;;&`},
	{"wait -n", `\bwait\s+-[nfp]`, `wait -n`},
	{"read -i, -N, a fraction as limit", `\bread\s+(-\S+\s+)*-(\w*[iN]|t\s*\d*\.\d)`, `read -t 0.5 line`},
	{"printf of a time or into an element", `\bprintf\s+(-v\s+\w+\[|['"]?[^'"]*%\()`, `printf '%(%s)T' -1`},
	{"test -v, -R, -N", `\[\[?\s+(!\s+)?-[vRN]\s`, `[[ -v name ]]`},
	{"options of shopt", `\bshopt\s+-\w+\s+.*(globstar|lastpipe|inherit_errexit|autocd|dirspell|checkjobs|localvar|assoc_expand|patsub)`, `shopt -s globstar`},
	{"variables", `\$\{?(BASHPID|EPOCHSECONDS|EPOCHREALTIME|SRANDOM|BASH_ARGV0|BASH_XTRACEFD|READLINE_\w+)`, `echo $BASHPID`},
	{"{name}>file", `\{[a-z_]\w*\}[<>]`, `exec {log}>file`},
	{"a step or zeros in braces", `\{(0\d+\.\.\d+|\w+\.\.\w+\.\.\w+)\}`, `echo {1..9..2}`},
	{"$'\\u..'", `\$'[^']*\\[uU]`, `echo $'\u20ac'`},
	{"source of a process", `(^|\s)(source|\.)\s+<\(`, `source <(echo x=1)`},
	{"case in $( ) without (", `\$\([^()]*\bcase\s.*\sin\s+[^(]*\)`, `x=$(case $y in a) echo b ;; esac)`},
	{"local -", `\blocal\s+-(\s|$)`, `local -`},
	{"${!name@} and ${name@a}", `\$\{!\w+@\}.*@`, `echo "${!name@}" @`},
}

// start matches what may precede the name of a command.
const start = `(?:^\s*|[|&;(]\s*|\bxargs\s+(?:-\S+\s+)*|!\s+|\b(?:if|then|do)\s+)`

// foreign lists tools and options that GNU has and macOS lacks.
var foreign = []rule{
	{"long options", start + `(cp|mv|rm|ln|ls|xargs|sed|grep|head|tail|sort|cut|tr|mkdir|tar|diff|date|stat|touch|wc|du|install)\s+(-\S+\s+)*--\w`, `cp --parents a b`},
	{"xargs -d, -r, -a", `\bxargs\s+(-\S+\s+)*-\w*[dra]`, `git ls-files | xargs -r -d '\n' cat`},
	{"cp, mv, install, ln -t, -D, -r", `\b((cp|mv|ln|install)\s+(-\S+\s+)*-\w*[tT]\b|install\s+(-\S+\s+)*-\w*D|ln\s+(-\S+\s+)*-\w*r)`, `cp -t folder file`},
	{"sed -z, -s, -i without a suffix, -u", `\bsed\s+(-\S+\s+)*-\w*[zsui]`, `sed -i s/a/b/ file`},
	{`\| \+ \? in a basic expression`, `\b(sed|grep)\b[^|]*'[^']*\\[|+?]`, `grep 'a\|b' file`},
	{"find -printf, -quit, -executable", `\bfind\b.*\s-(printf|quit|executable|regextype|readable|writable)\b`, `find . -quit`},
	{"grep -P", `\bgrep\s+(-\S+\s+)*-\w*P`, `grep -oP x file`},
	{"date -d, %N", `\bdate\s+(-\S+\s+)*(-\w*[dI]|\S*%N)`, `date +%s.%N`},
	{"stat -c, readlink -f, mktemp -p", `\b(stat\s+-\w*c|readlink\s+-\w*[ef]|mktemp\s+(-\S+\s+)*-\w*p)`, `stat -c %s file`},
	{"head -n -N", `\bhead\s+(-n\s*-|-c\s*-)\d`, `head -n -1 file`},
	{"tools", start + `(sha\d+sum|md5sum|nproc|ldconfig|realpath|timeout|tac|shuf|dpkg\S*|apt-get|unshare|debootstrap|chroot|setsid|taskset|numactl|getent|ldd|free|ionice)\b`, `if ldconfig -p`},
	{"gawk", `\bawk\b.*\b(gensub|strftime|systime|asort|PROCINFO)\b`, `awk '{ print gensub(a, b, 1) }'`},
}

// onlyOnLinux marks a script (in its first comment) or a function (in the comment before
// it) that never runs on a Mac, which TestDarwin checks.
const onlyOnLinux = "(Linux only)"

// scripts returns the paths of the project's shell scripts, relative to its root.
func scripts(t *testing.T) []string {
	t.Helper()
	command := exec.Command("git", "ls-files", "-co", "--exclude-standard", "--", "*.sh", ".ci/run")
	command.Dir = root
	list, err := command.Output()
	if err != nil {
		t.Skipf("no git, no list of scripts: %v", err)
	}
	return strings.Fields(string(list))
}

// function is a function of a script or, with an empty name, the code outside functions.
type function struct {
	name  string
	linux bool
	lines []string
}

var opening = regexp.MustCompile(`^([\w-]+)\(\) \{(.*)`)

// functions splits a script; comment lines belong to what follows.
func functions(text string) (all []function) {
	header, _, _ := strings.Cut(text, "\n\n")
	script := strings.Contains(header, onlyOnLinux)
	outside := function{linux: script}
	comment, inside := "", false
	for line := range strings.SplitSeq(text, "\n") {
		found := opening.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "#"):
			comment += line
			continue
		case found != nil:
			all = append(all, function{name: found[1], linux: script || strings.Contains(comment, onlyOnLinux), lines: []string{found[2]}})
			inside = !strings.HasSuffix(line, "}")
		case inside && line == "}":
			inside = false
		case inside:
			all[len(all)-1].lines = append(all[len(all)-1].lines, line)
		default:
			outside.lines = append(outside.lines, line)
		}
		comment = ""
	}
	return append(all, outside)
}

var message = regexp.MustCompile(`echo ("[^"$]*"|'[^']*')`)

// findings returns what the rules find in a function, each as "WHAT: LINE".
func findings(f function, rules []rule) (all []string) {
	for _, line := range f.lines {
		for _, r := range rules {
			if regexp.MustCompile(r.pattern).MatchString(message.ReplaceAllString(line, "echo")) {
				all = append(all, r.what+": "+strings.TrimSpace(line))
			}
		}
	}
	return all
}

func TestScriptsAreForBash32AndBSD(t *testing.T) {
	for _, path := range scripts(t) {
		text, err := os.ReadFile(filepath.Join(root, path))
		require.NoError(t, err)
		for _, f := range functions(string(text)) {
			assert.Empty(t, findings(f, newer), "%s: bash 3.2 lacks this, in %q", path, f.name)
			if !f.linux {
				assert.Empty(t, findings(f, foreign), "%s: macOS lacks this, in %q", path, f.name)
			}
		}
		requireNoEmptyArrays(t, path, string(text))
	}
}

var emptied = regexp.MustCompile(`\b(\w+)=\(\)`)

// requireNoEmptyArrays requires that a script checks the length of an array that starts
// empty, or expands it as ${name[@]+...}: with set -u, bash before 4.4 calls
// "${empty[@]}" an unbound variable.
func requireNoEmptyArrays(t *testing.T, path, text string) {
	t.Helper()
	for _, found := range emptied.FindAllStringSubmatch(text, -1) {
		asked := strings.Contains(text, "${#"+found[1]+"[@]}") || strings.Contains(text, "${"+found[1]+"[@]+")
		require.True(t, asked, "%s: %s may be empty where it is expanded", path, found[1])
	}
}

func TestEachRuleFindsItsSample(t *testing.T) {
	for _, r := range append(append([]rule{}, newer...), foreign...) {
		require.NotEmpty(t, findings(function{lines: []string{r.sample}}, []rule{r}), "%s: not found in %s", r.what, r.sample)
	}
}
