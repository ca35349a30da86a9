//! The network interfaces that Open MPI may use: not the bridges that lead to this host's own guests.
//!
//! Its TCP transport believes that every interface of a host leads to all others, the bridges of docker and libvirt
//! too. They do not lead to other hosts. What leaves a bridge has a masqueraded source, so Open MPI drops such
//! connections as those of a stranger, and waits for ever. This happens to pool on a single host, too, since shared
//! memory does not reach spawned processes.
//!
//! To ask Open MPI for its settings takes as long as to start it: it loads all of its components, and some of their
//! libraries measure the clock for 0.1 s each. So it is asked only where ranks may need the network.

use std::{
    ffi::{CString, c_int},
    path::Path,
};

use mpi::ffi;

use super::Threads;

const INCLUDE: &str = "btl_tcp_if_include";
const EXCLUDE: &str = "btl_tcp_if_exclude";

/// Makes Open MPI leave the bridges out, unless somebody has told it which interfaces to use. Every process calls it
/// before MPI is initialised.
pub(super) fn leave_out_bridges(threads: Threads) {
    // A pool spawns, which needs the network, and uses MPI on several threads.
    if threads == Threads::OneAtATime && share_memory(|name| std::env::var(name).ok()) {
        return;
    }
    let variable = |name: &str| format!("OMPI_MCA_{name}");
    let told = [INCLUDE, EXCLUDE].iter().any(|name| std::env::var_os(variable(name)).is_some());
    if told || !super::library_version().contains("Open MPI") {
        return;
    }
    let bridges = useless(&in_use(), Path::new("/sys/class/net"));
    if bridges.is_empty() {
        return;
    }
    // The configuration files of the user and the site may name interfaces, too. Only one of the two settings may be
    // used.
    let Some(excluded) = settings([INCLUDE, EXCLUDE]).and_then(|[include, exclude]| {
        let exclude = exclude?;
        include?.is_empty().then_some(exclude)
    }) else {
        return;
    };
    let bridges = bridges.join(",");
    tracing::info!("bridges to this host's own guests are left out by Open MPI: {bridges}");
    let value = if excluded.is_empty() { bridges } else { format!("{excluded},{bridges}") };
    // SAFETY: this runs while the program waits in Builder::start, which asks to be called before it starts threads of
    // its own, and before MPI starts threads. Those of this crate use the environment by std::env alone, which has a
    // lock.
    unsafe { std::env::set_var(variable(EXCLUDE), value) };
}

/// Whether all ranks are on this host and talk over its memory: they were launched together, and nobody has named
/// other transports.
fn share_memory(get: impl Fn(&str) -> Option<String>) -> bool {
    let ranks = |name: &str| get(name)?.parse::<u32>().ok();
    let here = ranks("OMPI_COMM_WORLD_LOCAL_SIZE").filter(|here| *here > 1);
    here.is_some()
        && here == ranks("OMPI_COMM_WORLD_SIZE")
        && ["OMPI_PARENT_PORT", "OMPI_MCA_btl"].iter().all(|name| get(name).is_none())
}

/// The interfaces with an address that others can reach, as far as this host knows.
fn in_use() -> Vec<String> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let usable = interfaces.into_iter().filter(|found| !found.is_loopback() && !found.is_link_local());
    let mut names: Vec<String> = usable.map(|found| found.name).collect();
    names.sort();
    names.dedup();
    names
}

/// Those of `names` that are bridges without a way out; but one interface is always left.
fn useless(names: &[String], devices: &Path) -> Vec<String> {
    let is_inner = |name: &String| {
        let device = devices.join(name);
        device.join("bridge").exists() && !leads_out(&device)
    };
    let (mut inner, outer): (Vec<String>, Vec<String>) = names.iter().cloned().partition(is_inner);
    if outer.is_empty() && !inner.is_empty() {
        inner.remove(0);
    }
    inner
}

/// Whether an interface is hardware, or lies upon an interface that is: a bond, a VLAN, a bridge with such a port.
fn leads_out(device: &Path) -> bool {
    let below = device.read_dir().into_iter().flatten().flatten();
    let mut below = below.filter(|entry| entry.file_name().to_string_lossy().starts_with("lower_"));
    device.join("device").exists() || below.any(|entry| leads_out(&entry.path()))
}

/// Control variables of the library that are text (MPI tool information interface, section 15.3); needs no
/// initialisation.
fn settings<const N: usize>(names: [&str; N]) -> Option<[Option<String>; N]> {
    let mut provided = 0;
    // SAFETY: a place for the answer; this may be called before MPI_Init (section 15.3.4).
    if unsafe { ffi::MPI_T_init_thread(ffi::RSMPI_THREAD_FUNNELED, &mut provided) } != 0 {
        return None;
    }
    let values = names.map(setting);
    // SAFETY: it ends what was begun above, and no handle is left.
    unsafe { ffi::MPI_T_finalize() };
    Some(values)
}

/// One of them; the interface is initialised.
fn setting(name: &str) -> Option<String> {
    let name = CString::new(name).ok()?;
    let (mut index, mut count): (c_int, c_int) = (0, 0);
    // SAFETY: the name is terminated, and there is a place for each answer. No object is bound, as these variables
    // ask for none. The buffer holds `count` elements of any type that a variable may have.
    let bytes = unsafe {
        let mut handle = std::mem::zeroed();
        if ffi::MPI_T_cvar_get_index(name.as_ptr(), &mut index) != 0
            || ffi::MPI_T_cvar_handle_alloc(index, std::ptr::null_mut(), &mut handle, &mut count) != 0
        {
            return None;
        }
        let mut buffer = vec![0u64; count.max(1) as usize];
        let read = ffi::MPI_T_cvar_read(handle, buffer.as_mut_ptr().cast());
        ffi::MPI_T_cvar_handle_free(&mut handle);
        if read != 0 {
            return None;
        }
        buffer.into_iter().flat_map(u64::to_ne_bytes)
    };
    let text: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use std::{fs::create_dir_all, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn bridges_to_guests_alone_are_useless() {
        let folder = tempfile::tempdir().unwrap();
        let devices = folder.path();
        for made in
            ["eth0/device", "eth1/device", "veth0", "bond0", "docker0/bridge", "br0/bridge", "br1/bridge"]
        {
            create_dir_all(devices.join(made)).unwrap();
        }
        let lies_upon = |upper: &str, lower: &str| {
            symlink(format!("../{lower}"), devices.join(upper).join(format!("lower_{lower}"))).unwrap();
        };
        lies_upon("br0", "veth0");
        lies_upon("br1", "veth0");
        lies_upon("br1", "bond0");
        lies_upon("bond0", "eth1");
        let useless = |names: &[&str]| {
            useless(&names.iter().map(ToString::to_string).collect::<Vec<_>>(), devices).join(" ")
        };
        assert_eq!(useless(&["br0", "br1", "docker0", "eth0", "veth0"]), "br0 docker0");
        assert_eq!(useless(&["eth0"]), "");
        assert_eq!(useless(&["br0", "docker0"]), "docker0", "one is left");
    }

    #[test]
    fn ranks_that_were_launched_on_one_host_need_no_network() {
        let share = |environment: &[(&str, &str)]| {
            let found = |name: &str| environment.iter().find(|(known, _)| *known == name);
            share_memory(|name| found(name).map(|(_, value)| value.to_string()))
        };
        let launched = |here, all| [("OMPI_COMM_WORLD_LOCAL_SIZE", here), ("OMPI_COMM_WORLD_SIZE", all)];
        assert!(share(&launched("3", "3")));
        assert!(!share(&launched("2", "4")), "some are on other hosts");
        assert!(!share(&launched("1", "1")), "a single rank may spawn");
        assert!(!share(&[]), "another launcher");
        for more in [("OMPI_PARENT_PORT", "1.0:2"), ("OMPI_MCA_btl", "tcp,self")] {
            assert!(!share(&[&launched("3", "3")[..], &[more]].concat()), "{more:?}");
        }
    }

    #[test]
    fn what_the_library_was_told_can_be_read_and_what_it_does_not_have_is_none() {
        let Some([told, none]) = settings([EXCLUDE, "no_such_setting"]) else { panic!("no tool interface") };
        assert_eq!(none, None);
        if super::super::library_version().contains("Open MPI") {
            assert!(!told.unwrap().is_empty(), "the loopback interface is left out by default");
        }
    }
}
