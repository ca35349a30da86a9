//! What a launcher does with a run that loses a process, and so how a run under it is treated and ended.
//!
//! Most launchers end the run. Open MPI 5's with ULFM and Open MPI 4's `mpiexec --enable-recovery` let it live on. The
//! latter returns 0 whatever its ranks return. When several processes on another host leave without MPI_Finalize, as
//! all must after a loss, it notices only the first and waits for the others for ever: it is stranded.

use std::{collections::HashSet, sync::OnceLock, time::Duration};

/// How long Open MPI 4's mpiexec takes to see a loss through. A process that it starts meanwhile may hang in
/// PMIx_Init, and rank 0 with it in MPI_Comm_spawn: 9 of 200 did that were spawned at once, 0 of 250 after this time.
const SETTLING: Duration = Duration::from_millis(300);

/// What the processes of a run may expect of the one who started them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    survives_losses: bool,
    returns_0: bool,
    settling: Duration,
}

impl Policy {
    /// Of workers that rank 0 has started itself: no launcher knows of them.
    pub(crate) const CHILDREN: Policy =
        Policy { survives_losses: true, returns_0: false, settling: Duration::ZERO };

    /// Of the launcher that left the environment which is read through `get`.
    fn read(get: impl Fn(&str) -> Option<String>) -> Policy {
        let returns_0 = is_set(&get, "OMPI_MCA_orte_enable_recovery");
        Policy {
            survives_losses: returns_0 || is_set(&get, "OMPI_MCA_mpi_ft_enable"),
            returns_0,
            settling: SETTLING,
        }
    }

    /// The same launcher, where it is never asked to start another process.
    pub(crate) fn without_spawns(self) -> Policy {
        Policy { settling: Duration::ZERO, ..self }
    }

    /// Whether a run lives on when one of its processes dies, and one may be ended alone.
    pub(crate) fn survives_losses(self) -> bool {
        self.survives_losses
    }

    /// How long the launcher must be left alone after a loss before it is to start another process.
    pub(crate) fn settling(self) -> Duration {
        self.settling
    }

    /// Whether the launcher returns 0 whatever its ranks return.
    pub(crate) fn returns_0(self) -> bool {
        self.returns_0
    }

    /// The code with which MPI_Abort is to end a run that returns `code`; `None` where the run ends without MPI_Abort.
    /// If the launcher ends a run that loses a process, nothing else brings a code through once MPI cannot be
    /// finalised: when workers are stuck, or when one was lost.
    pub(crate) fn abort_code(self, code: Option<i32>, finalises: bool) -> Option<i32> {
        code.filter(|_| !finalises && !self.survives_losses)
    }

    /// Whether the launcher will not end by itself when processes leave without MPI_Finalize; `others` are the hosts
    /// of those on other hosts than rank 0's.
    pub(crate) fn is_stranded_by<'h>(self, mut others: impl Iterator<Item = &'h str>) -> bool {
        let mut seen = HashSet::new();
        self.returns_0 && !others.all(|host| seen.insert(host))
    }

    /// What to tell the user of a run that suffers from losses, where it could have survived them.
    pub(crate) fn advice(self) -> Option<&'static str> {
        (!self.survives_losses).then_some(
            "`mpiexec --enable-recovery` of Open MPI 4, or `--with-ft ulfm` of 5, lets the other ranks live when one \
             dies",
        )
    }
}

/// That of the launcher of this process.
pub(crate) fn policy() -> Policy {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    *POLICY.get_or_init(|| Policy::read(super::variable))
}

/// The flag with which a run survives losses under the mpiexec of this MPI library, if it has one.
#[cfg(feature = "cli")]
pub(super) fn flag_of_survival(library: &str) -> Option<&'static str> {
    if library.contains("Open MPI v4") {
        Some("--enable-recovery")
    } else {
        library.contains("Open MPI").then_some("--with-ft ulfm")
    }
}

/// Open MPI's launchers hand their flags down in the environment.
pub(crate) fn is_set(get: impl Fn(&str) -> Option<String>, flag: &str) -> bool {
    get(flag).is_some_and(|value| matches!(value.as_str(), "1" | "true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variable: &str, value: &str) -> Policy {
        Policy::read(|name| (name == variable).then(|| value.to_string()))
    }

    fn recovery() -> Policy {
        read("OMPI_MCA_orte_enable_recovery", "1")
    }

    fn ulfm() -> Policy {
        read("OMPI_MCA_mpi_ft_enable", "true")
    }

    fn any_other() -> Policy {
        read("OMPI_COMM_WORLD_SIZE", "1")
    }

    #[test]
    fn a_run_survives_losses_where_its_launcher_was_told_so() {
        for (policy, survives, returns_0) in [
            (Policy::CHILDREN, true, false),
            (recovery(), true, true),
            (ulfm(), true, false),
            (any_other(), false, false),
            (read("OMPI_MCA_orte_enable_recovery", "0"), false, false),
            (read("OMPI_MCA_mpi_ft_enable", ""), false, false),
        ] {
            assert_eq!(policy.survives_losses(), survives, "{policy:?}");
            assert_eq!(policy.returns_0(), returns_0, "{policy:?}");
            assert_eq!(policy.advice().is_none(), survives, "{policy:?}");
        }
    }

    #[test]
    fn a_launcher_that_is_to_spawn_settles_first() {
        assert_eq!(Policy::CHILDREN.settling(), Duration::ZERO);
        for launcher in [recovery(), ulfm(), any_other()] {
            assert_eq!(launcher.settling(), SETTLING);
            let kept = launcher.without_spawns();
            assert_eq!(kept.settling(), Duration::ZERO);
            assert_eq!(kept.survives_losses(), launcher.survives_losses());
            assert_eq!(kept.returns_0(), launcher.returns_0());
        }
    }

    #[test]
    fn only_a_launcher_that_ends_runs_needs_an_abort_and_only_without_finalize() {
        for policy in [Policy::CHILDREN, recovery(), ulfm()] {
            assert_eq!(policy.abort_code(Some(75), false), None, "{policy:?}");
        }
        assert_eq!(any_other().abort_code(Some(75), false), Some(75));
        assert_eq!(
            any_other().abort_code(Some(0), false),
            Some(0),
            "a run that went well in spite of a loss"
        );
        assert_eq!(any_other().abort_code(Some(75), true), None);
        assert_eq!(any_other().abort_code(None, false), None, "the program goes on");
    }

    #[test]
    fn open_mpi_4_is_stranded_by_two_processes_on_one_other_host() {
        let stranded = |policy: Policy, others: &[&str]| policy.is_stranded_by(others.iter().copied());
        assert!(stranded(recovery(), &["b", "c", "b"]));
        assert!(!stranded(recovery(), &["b", "c"]));
        for policy in [Policy::CHILDREN, ulfm(), any_other()] {
            assert!(!stranded(policy, &["b", "b"]), "{policy:?}");
        }
    }

    #[cfg(feature = "cli")]
    #[test]
    fn each_open_mpi_has_its_own_flag() {
        assert_eq!(flag_of_survival("Open MPI v4.1.4, package: Debian"), Some("--enable-recovery"));
        assert_eq!(flag_of_survival("Open MPI v5.0.11"), Some("--with-ft ulfm"));
        assert_eq!(flag_of_survival("MPICH Version: 4.2.0"), None);
    }
}
