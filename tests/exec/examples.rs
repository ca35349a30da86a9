//! The first twenty examples of GNU parallel's manual that make sense on one cluster, as docs/exec.md has them: theirs and
//! ours, each in a folder with the same files, held to what they print. Theirs is run where GNU parallel is installed.

use std::{path::Path, process::Command, sync::LazyLock};

use crate::{
    PROGRAM,
    support::{
        skipped, start,
        ways::{Folder, THREADS, Way},
    },
};

/// An example of the manual. The scripts are bash's; theirs and ours stand in docs/exec.md as they stand here.
struct Example {
    /// Its heading in parallel_examples(7)
    title: &'static str,
    /// Makes the files, functions and programs that it speaks of.
    before: &'static str,
    theirs: &'static str,
    ours: &'static str,
    /// Shows what it has left.
    after: &'static str,
    prints: &'static str,
}

const EXAMPLES: [Example; 20] = [
    Example {
        title: "Working as xargs -n1",
        before: "mkdir sub; touch a.html 'sub/b c.html' d.txt",
        theirs: "find . -name '*.html' | parallel gzip --best",
        ours: "find . -name '*.html' | rankpool exec -- gzip --best",
        after: "find . -type f | sort",
        prints: "./a.html.gz\n./d.txt\n./sub/b c.html.gz\n",
    },
    Example {
        title: "Reading arguments from command line",
        before: r#"echo low >a.wav; echo high >'b c.wav'; program lame 'cp "$1" "$3"'"#,
        theirs: "parallel lame {} -o {.}.mp3 ::: *.wav",
        ours: "rankpool exec -- lame {} -o {.}.mp3 ::: *.wav",
        after: "ls; cat *.mp3",
        prints: "a.mp3\na.wav\nb c.mp3\nb c.wav\nlow\nhigh\n",
    },
    Example {
        title: "Inserting multiple arguments",
        before: "mkdir destdir; touch a.log 'b c.log' log.d",
        theirs: r"ls | grep -E '\.log$' | parallel mv {} destdir",
        ours: r"ls | grep -E '\.log$' | rankpool exec -- mv {} destdir",
        after: "ls . destdir",
        prints: ".:\ndestdir\nlog.d\n\ndestdir:\na.log\nb c.log\n",
    },
    Example {
        title: "Context replace",
        before: "touch pict{00..99}.jpg pict100.jpg",
        theirs: "seq -w 0 99 | parallel rm pict{}.jpg",
        ours: "seq -w 0 99 | rankpool exec -- rm pict{}.jpg",
        after: "ls",
        prints: "pict100.jpg\n",
    },
    Example {
        title: "Compute intensive jobs and substitution",
        before: r#"echo one >a.jpg; echo two >'b c.jpg'; program convert 'sed "s/^/$1 $2 /" "$3" >"$4"'"#,
        theirs: "ls *.jpg | parallel convert -geometry 120 {} thumb_{}",
        ours: "ls *.jpg | rankpool exec -- convert -geometry 120 {} thumb_{}",
        after: "ls; cat thumb_*",
        prints: "a.jpg\nb c.jpg\nthumb_a.jpg\nthumb_b c.jpg\n-geometry 120 one\n-geometry 120 two\n",
    },
    Example {
        title: "Substitution and redirection",
        before: "echo one | gzip >a.gz; echo two | gzip >'b c.gz'",
        theirs: r#"parallel "zcat {} >{.}" ::: *.gz"#,
        ours: "rankpool exec --stdout {.} -- zcat {} ::: *.gz",
        after: "ls; cat a 'b c'",
        prints: "a\na.gz\nb c\nb c.gz\none\ntwo\n",
    },
    Example {
        title: "Composed commands",
        before: "mkdir a 'b c'; touch a/{1,2,3} 'b c/4'",
        theirs: r#"ls | parallel -k 'echo -n {}" "; ls {}|wc -l'"#,
        ours: r#"ls | rankpool exec -k --shell -- 'echo -n {}" "; ls {}|wc -l'"#,
        after: "",
        prints: "a 3\nb c 1\n",
    },
    Example {
        title: "Composed command with perl replacement string",
        before: "touch apple avocado 'banana split'",
        theirs: "parallel 'mkdir -p {=s/(.).*/$1/=}; mv {} {=s/(.).*/$1/=}' ::: *",
        ours: r#"rankpool exec --shell -- 'f={}; mkdir -p ${f:0:1}; mv "$f" ${f:0:1}' ::: *"#,
        after: "find . -type f | sort",
        prints: "./a/apple\n./a/avocado\n./b/banana split\n",
    },
    Example {
        title: "Composed command with multiple input sources",
        before: "touch {00..03}:{00..55..5}; rm 00:05 02:50",
        theirs: r#"parallel -k [ -f {1}:{2} ] "||" echo {1}:{2} does not exist ::: {00..03} ::: {00..55..5}"#,
        ours: r#"rankpool exec -k --shell -- [ -f {1}:{2} ] "||" echo {1}:{2} does not exist ::: {00..03} ::: {00..55..5}"#,
        after: "",
        prints: "00:05 does not exist\n02:50 does not exist\n",
    },
    Example {
        title: "Calling Bash functions",
        before: "doubleit() { echo Doing it for $1 $2; sleep 0.1; echo Done with $1 $2; }; export -f doubleit",
        theirs: "parallel -k doubleit ::: 1 2 ::: a b",
        ours: "rankpool exec -k --shell -- doubleit ::: 1 2 ::: a b",
        after: "",
        prints: "Doing it for 1 a\nDone with 1 a\nDoing it for 1 b\nDone with 1 b\n\
                 Doing it for 2 a\nDone with 2 a\nDoing it for 2 b\nDone with 2 b\n",
    },
    Example {
        title: "Function tester",
        before: r#"tester() { if (eval "$@") >&/dev/null; then echo "[ OK ] $@"; else echo "[FAIL] $@"; fi; }
                   export -f tester"#,
        theirs: "parallel -k tester exit ::: 1 0 2 0",
        ours: "rankpool exec -k --shell -- tester exit ::: 1 0 2 0",
        after: "",
        prints: "[FAIL] exit 1\n[ OK ] exit 0\n[FAIL] exit 2\n[ OK ] exit 0\n",
    },
    Example {
        title: "Log rotate",
        before: "for k in {1..9}; do echo $k >log.$k; done",
        theirs: "seq 9 -1 1 | parallel -j1 mv log.{} log.'{= $_++ =}'",
        ours: "seq 9 -1 1 | rankpool exec -w 1 --shell -- 'mv log.{} log.$(({}+1))'",
        after: "ls -v; cat log.2 log.10",
        prints: "log.2\nlog.3\nlog.4\nlog.5\nlog.6\nlog.7\nlog.8\nlog.9\nlog.10\n1\n9\n",
    },
    Example {
        title: "Removing file extension when processing files",
        before: r#"program unzip 'tar -xf "$1"'; echo one >x; tar -cf a.zip x; echo two >x; tar -cf 'b c.zip' x"#,
        theirs: "parallel 'mkdir {.}; cd {.}; unzip ../{}' ::: *.zip",
        ours: "rankpool exec --workdir {.} -- unzip ../{} ::: *.zip",
        after: "cat a/x 'b c/x'",
        prints: "one\ntwo\n",
    },
    Example {
        title: "Removing strings from the argument",
        before: "echo one >x; tar -czf a.tar.gz x; echo two >x; tar -czf 'b c.tar.gz' x",
        theirs: "parallel --plus 'mkdir {..}; tar -C {..} -xf {}' ::: *.tar.gz",
        ours: r#"rankpool exec --shell -- 'f={}; mkdir "${f%.tar.gz}"; tar -C "${f%.tar.gz}" -xf "$f"' ::: *.tar.gz"#,
        after: "cat a/x 'b c/x'",
        prints: "one\ntwo\n",
    },
    Example {
        title: "Prepend last modified date (ISO8601) to file name",
        before: "export TZ=UTC; touch -d 2024-01-02T03:04:05 a 'b c'",
        theirs: r#"parallel mv {} '{= $a=pQ($_); $b=$_; $_=qx{date -r "$a" +%FT%T}; chomp; $_="$_ $b" =}' ::: *"#,
        ours: r#"rankpool exec --shell -- 'f={}; mv "$f" "$(date -r "$f" +%FT%T) $f"' ::: *"#,
        after: "ls",
        prints: "2024-01-02T03:04:05 a\n2024-01-02T03:04:05 b c\n",
    },
    Example {
        title: "Save output in ISO8601 dirs",
        before: r#"program ps 'echo "all processes: $@"'"#,
        theirs: "seq 2 | parallel -N0 -j1 --delay 1 --results '{= $_=qx{date -Isec}; chomp=}/' ps aux",
        ours: "seq 2 | rankpool exec -w 1 --no-append --shell -- \
               'd=$(date -Isec); mkdir $d; ps aux >$d/stdout; sleep 1'",
        after: "ls | wc -l; cat */stdout",
        prints: "2\nall processes: aux\nall processes: aux\n",
    },
    Example {
        title: "Aggregating content of files",
        before: "for x in 1 2; do for y in 01 02 03; do echo x${x}y$y >x${x}y${y}z1; done; done",
        theirs: "parallel eval 'cat {=s/y01/y*/=} > {=s/y01//=}' ::: *y01*",
        ours: "rankpool exec --shell -- 'f={}; cat ${f/y01/y*} >${f/y01}' ::: *y01*",
        after: "cat x1z1 x2z1",
        prints: "x1y01\nx1y02\nx1y03\nx2y01\nx2y02\nx2y03\n",
    },
    Example {
        title: "Process files from a tar file while unpacking",
        before: "mkdir a; touch a/{1,2} 'b c'; tar -czf foo.tgz a/1 a/2 'b c'; rm -r a b*",
        theirs: "tar xvf foo.tgz | perl -ne 'print $l;$l=$_;END{print $l}' | parallel -k echo",
        ours: "tar xvf foo.tgz | perl -ne 'print $l;$l=$_;END{print $l}' | rankpool exec -k -- echo",
        after: "",
        prints: "a/1\na/2\nb c\n",
    },
    Example {
        title: "Rewriting a for-loop and a while-read-loop",
        before: r#"printf '%s\n' a.ppm 'b c.ppm' >list; echo one >a.ppm; echo two >'b c.ppm'
                   program do_step1 'echo "$@"'; program do_step2 'sed "s/$/ is $1/"'; program process_output 'cat -n'"#,
        theirs: r#"cat list | parallel -k "do_step1 {} scale {.}.jpg ; do_step2 <{} {.}" | process_output"#,
        ours: r#"cat list | rankpool exec -k --shell -- "do_step1 {} scale {.}.jpg ; do_step2 <{} {.}" | process_output"#,
        after: "",
        prints: "     1\ta.ppm scale a.jpg\n     2\tone is a\n     3\tb c.ppm scale b c.jpg\n     4\ttwo is b c\n",
    },
    Example {
        title: "Rewriting nested for-loops",
        before: "",
        theirs: "parallel echo {1} {2} ::: red green blue ::: S M L XL XXL | sort",
        ours: "rankpool exec -- echo {1} {2} ::: red green blue ::: S M L XL XXL | sort",
        after: "",
        prints: "blue L\nblue M\nblue S\nblue XL\nblue XXL\ngreen L\ngreen M\ngreen S\ngreen XL\ngreen XXL\n\
                 red L\nred M\nred S\nred XL\nred XXL\n",
    },
];

/// `program NAME LINE` puts a program into a folder of PATH.
const PROGRAMS: &str = r#"program() { printf '#!/bin/sh\n%s\n' "$2" >../bin/$1; chmod +x ../bin/$1; }"#;

impl Example {
    /// What a command prints, and then what it has left.
    fn run(&self, command: &str) -> String {
        let folder = Folder::new();
        for name in ["bin", "work", "parallel"] {
            std::fs::create_dir(folder.path(name)).unwrap();
        }
        let script = [PROGRAMS, self.before, "set -e -o pipefail", command, self.after].join("\n");
        let program = Path::new(PROGRAM).parent().unwrap().display();
        let path = format!("{}:{program}:{}", folder.file("bin"), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.args(["-c", &script])
            .current_dir(folder.path("work"))
            .env("PATH", path)
            .env("LC_ALL", "C.UTF-8")
            .env("PARALLEL_HOME", folder.path("parallel"))
            // Or GNU parallel takes the first shell among its ancestors: sh, when make or xargs has started the tests.
            .env("PARALLEL_SHELL", "/bin/bash")
            .envs([("RANKPOOL_MODE", "threads"), ("RANKPOOL_WORKERS", "2"), ("RANKPOOL_PROGRESS", "none")]);
        start(&mut bash).end().expect(0).stdout
    }

    fn check(&self) {
        assert_eq!(self.run(self.ours), self.prints, "ours, {}", self.title);
        if *HAS_PARALLEL {
            assert_eq!(self.run(self.theirs), self.prints, "theirs, {}", self.title);
        }
    }
}

static HAS_PARALLEL: LazyLock<bool> = LazyLock::new(|| {
    let version = Command::new("parallel").arg("--version").output();
    let there = version.is_ok_and(|version| version.stdout.starts_with(b"GNU parallel"));
    if !there {
        skipped("what GNU parallel prints of the examples in its manual: it is not installed");
    }
    there
});

fn the_guide_has_the_examples_as_they_are_run(_: &Way) {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/exec.md")).unwrap();
    for Example { title, theirs, ours, .. } in &EXAMPLES {
        let [theirs, ours] = [theirs, ours].map(|command| command.replace('|', r"\|"));
        let row = format!("| {title} | `{theirs}` | `{ours}` |");
        assert!(guide.lines().any(|line| line == row), "docs/exec.md has no line\n{row}");
    }
}

fn an_example_of_the_manual_prints_the_same<const N: usize>(_: &Way) {
    EXAMPLES[N].check();
}

macro_rules! tests {
    ($($n:literal)*) => {
        &[
            ("the guide has the examples as they are run", &[THREADS], the_guide_has_the_examples_as_they_are_run),
            $((EXAMPLES[$n].title, &[THREADS], an_example_of_the_manual_prints_the_same::<$n>)),*
        ]
    };
}

/// Each example is a test by itself.
pub const TESTS: &[crate::ways::Test] = tests!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
