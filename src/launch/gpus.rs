//! Which GPUs the slots of a rank see: shares of those that the rank may see itself.

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    process::{Command, Stdio},
    str::FromStr,
    time::Duration,
};

use super::{child::end_within, here};
use crate::error::{Error, ParseError};

/// How many GPUs each task sees at a time: `none`, which leaves the GPUs to the tasks, a whole number, or a part of
/// one with up to three decimals. With 0.5 two tasks share a GPU.
///
/// ```
/// use rankpool::GpusPerTask;
/// let half: GpusPerTask = "0.50".parse()?;
/// assert_eq!(half.to_string(), "0.5");
/// assert_eq!("none".parse(), Ok(GpusPerTask::default()));
/// assert!("1.5".parse::<GpusPerTask>().is_err());
/// # Ok::<(), rankpool::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GpusPerTask {
    /// 0 stands for none.
    thousandths: u32,
}

/// A whole GPU.
const WHOLE: u32 = 1000;

/// More than any host has.
const MOST: u32 = 1000;

impl fmt::Display for GpusPerTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.thousandths / WHOLE, self.thousandths % WHOLE) {
            (0, 0) => f.pad("none"),
            (whole, 0) => f.pad(&whole.to_string()),
            (whole, part) => f.pad(format!("{whole}.{part:03}").trim_end_matches('0')),
        }
    }
}

impl FromStr for GpusPerTask {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<GpusPerTask, ParseError> {
        let refused = |expected| Err(ParseError::new(text, "number of GPUs", expected));
        if text == "none" {
            return Ok(GpusPerTask::default());
        }
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) {
            return refused("expected none, a whole number, or a part of 1 such as 0.5");
        }
        let part = part.trim_end_matches('0');
        if part.len() > 3 {
            return refused("it has three decimals at most");
        }
        let whole = whole.parse().unwrap_or(u32::MAX);
        let part: u32 = format!("{part:0<3}").parse().unwrap_or(0);
        match (whole, part) {
            (0, 0) => refused("it is above 0; none leaves the GPUs to the tasks"),
            (0, part) => Ok(GpusPerTask { thousandths: part }),
            (MOST.., _) => refused("no host has so many"),
            (whole, 0) => Ok(GpusPerTask { thousandths: whole * WHOLE }),
            _ => refused("above 1 it is a whole number: a task cannot see a part of one more"),
        }
    }
}

/// Variables that a slot gets.
pub(crate) type Variables = Vec<(&'static str, String)>;

const CUDA: &str = "CUDA_VISIBLE_DEVICES";
const ROCR: &str = "ROCR_VISIBLE_DEVICES";
const ZE: &str = "ZE_AFFINITY_MASK";

/// On AMD's GPUs these choose among what ROCR_VISIBLE_DEVICES has left, by numbers from 0.
const AFTER_ROCR: [&str; 3] = ["HIP_VISIBLE_DEVICES", CUDA, "GPU_DEVICE_ORDINAL"];

/// How long `nvidia-smi` may take to answer; it takes seconds where no other program keeps the driver awake.
const PATIENCE: Duration = Duration::from_secs(30);

/// The GPUs that this process may see, each by the name that it has in each of the variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gpus {
    named: BTreeMap<&'static str, Vec<String>>,
    /// Those of [`AFTER_ROCR`] that are set.
    after_rocr: Vec<&'static str>,
}

/// What the environment says of the GPUs that this process may see; the same for processes of a host that may see the
/// same. Where Slurm gives each task GPUs of its own, it numbers them anew for each.
pub(crate) fn visible_gpus() -> String {
    if super::variable("SLURM_GPUS_PER_TASK").is_some() {
        return format!("of process {}", std::process::id());
    }
    let set = |name: &str| Some(format!("{name}={} ", super::variable(name)?));
    [CUDA, ROCR, ZE].into_iter().filter_map(set).collect()
}

/// The GPUs that this process may see: as the variables say, which Slurm or the user have set, else as the devices of
/// this host tell. This may take seconds.
pub(crate) fn gpus() -> Gpus {
    look(super::variable, Path::new("/"), || listed_by(Path::new("nvidia-smi")))
}

fn look(
    get: impl Fn(&str) -> Option<String>,
    root: &Path,
    nvidia_smi: impl FnOnce() -> Option<String>,
) -> Gpus {
    let nvidia = count(&root.join("dev"), "nvidia");
    let amd = if root.join("dev/kfd").exists() { count(&root.join("dev/dri"), "renderD") } else { 0 };
    let set = |name: &'static str| Some((name, names(&get(name)?)));
    if amd > 0 && nvidia == 0 {
        // The first that is set numbers the GPUs of the host, so ROCR_VISIBLE_DEVICES can take its place.
        let told = [ROCR].into_iter().chain(AFTER_ROCR).find_map(set);
        let ids = told.map_or_else(|| numbered(amd), |(_, ids)| ids);
        let after_rocr = AFTER_ROCR.into_iter().filter(|name| get(name).is_some()).collect();
        return Gpus { named: BTreeMap::from([(ROCR, ids)]), after_rocr };
    }
    let mut named: BTreeMap<_, _> = [CUDA, ROCR, ZE].into_iter().filter_map(set).collect();
    if named.is_empty() {
        let listed = nvidia_smi().map(|list| listed(&list)).filter(|ids| !ids.is_empty());
        let ids = listed.unwrap_or_else(|| numbered(nvidia));
        named.insert(CUDA, ids);
    }
    // A variable that names no GPU hides those of its maker. Slurm sets all variables that it knows, so several may be
    // left.
    named.retain(|_, ids| !ids.is_empty());
    Gpus { named, after_rocr: Vec::new() }
}

impl Gpus {
    /// How many there are. Where one variable names fewer than another, the rest is not sure to be seen.
    fn len(&self) -> usize {
        self.named.values().map(Vec::len).min().unwrap_or(0)
    }

    /// What each of `slots` gets, so that it sees GPUs of its own, or a part of one: nothing with `none`.
    ///
    /// # Errors
    /// When there are not enough.
    pub(crate) fn shares(&self, each: GpusPerTask, slots: usize, rank: u32) -> Result<Vec<Variables>, Error> {
        let thousandths = each.thousandths as usize;
        if thousandths == 0 {
            return Ok(vec![Variables::new(); slots]);
        }
        let (own, sharers) = ((thousandths / WHOLE as usize).max(1), (WHOLE as usize / thousandths).max(1));
        if slots > self.len() / own * sharers {
            return Err(self.too_few(each, slots, rank));
        }
        let first = |slot: usize| {
            // Neighbouring slots share a GPU, and no GPU gets a second slot while another has none.
            if sharers > 1 { slot * self.len().min(slots) / slots } else { slot * own }
        };
        Ok((0..slots).map(|slot| self.variables(first(slot), own)).collect())
    }

    fn variables(&self, first: usize, own: usize) -> Variables {
        let named = self.named.iter().map(|(name, ids)| (*name, ids[first..first + own].join(",")));
        let after = self.after_rocr.iter().map(|name| (*name, numbered(own).join(",")));
        named.chain(after).collect()
    }

    fn too_few(&self, each: GpusPerTask, slots: usize, rank: u32) -> Error {
        let host = &here().host;
        let plural = if each.thousandths > WHOLE { "s" } else { "" };
        let named = self.named.iter().map(|(name, ids)| format!("{name}={}", ids.join(",")));
        let seen = match self.len() {
            0 => format!("none: neither {CUDA}, {ROCR} or {ZE} nor /dev names one"),
            count => format!("{count}: {}", named.collect::<Vec<_>>().join(" ")),
        };
        Error::usage(format!(
            "{slots} slots with {each} GPU{plural} each, and rank {rank} on {host} may see {seen}; ask for more GPUs \
             (Slurm: --gpus-per-node), start fewer children, or give --gpus-per-task less, such as 0.5 or none"
        ))
    }
}

/// The GPUs in a comma list. As CUDA does, this ends at the first that cannot be one, such as -1 or NoDevFiles.
fn names(list: &str) -> Vec<String> {
    let number = |text: &str| text.split('.').all(|part| part.parse::<u32>().is_ok());
    let is_gpu = |text: &str| text.starts_with("GPU-") || text.starts_with("MIG-") || number(text);
    let mut ids: Vec<String> = Vec::new();
    for id in list.split(',').map(str::trim).take_while(|id| is_gpu(id)) {
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_string());
        }
    }
    ids
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Files of this name and a number.
fn count(folder: &Path, name: &str) -> usize {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |file: std::fs::DirEntry| file.file_name().to_str()?.strip_prefix(name)?.parse::<u32>().ok();
    files.filter_map(number).count()
}

/// What `nvidia-smi -L` prints, where it can.
fn listed_by(nvidia_smi: &Path) -> Option<String> {
    let child = Command::new(nvidia_smi)
        .arg("-L")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.inspect_err(|error| tracing::debug!("nvidia-smi: {error}")).ok()?;
    // Its list is far shorter than what a pipe holds, so it ends before it is read.
    if end_within(&mut child, PATIENCE).ok()?.is_none() {
        tracing::warn!("nvidia-smi did not answer within {PATIENCE:?}: the GPUs are counted in /dev");
        return None;
    }
    let output = child.wait_with_output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads it: a line for each GPU, followed by a line for each part that it is cut into; of such a GPU only the parts
/// can be used. Whole GPUs go by their numbers in CUDA, from 0; where one is cut up, all go by their names.
fn listed(list: &str) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for line in list.lines() {
        let Some(id) = line.rsplit("UUID: ").next().and_then(|rest| rest.trim().strip_suffix(')')) else {
            continue;
        };
        if id.starts_with("MIG-") && ids.last().is_some_and(|whole| whole.starts_with("GPU-")) {
            ids.pop();
        }
        ids.push(id.to_string());
    }
    if ids.iter().any(|id| id.starts_with("MIG-")) { ids } else { numbered(ids.len()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn each(text: &str) -> GpusPerTask {
        text.parse().unwrap()
    }

    /// On a host with these devices.
    fn found(environment: &[(&str, &str)], devices: &[&str], nvidia_smi: Option<&str>) -> Gpus {
        let folder = tempfile::tempdir().unwrap();
        for device in devices {
            let path = folder.path().join("dev").join(device);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let get =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        look(get, folder.path(), || nvidia_smi.map(ToString::to_string))
    }

    /// What slots get, each as `NAME=ids NAME=ids`.
    fn shared(gpus: &Gpus, text: &str, slots: usize) -> Vec<String> {
        let shares = gpus.shares(each(text), slots, 3).unwrap();
        let words = |variables: &Variables| {
            variables.iter().map(|(name, ids)| format!("{name}={ids}")).collect::<Vec<_>>().join(" ")
        };
        shares.iter().map(words).collect()
    }

    #[test]
    fn a_number_of_gpus_comes_back_from_its_text() {
        for text in ["none", "1", "2", "16", "0.5", "0.25", "0.125", "0.001"] {
            assert_eq!(each(text).to_string(), text);
        }
        assert_eq!((each("1.0"), each("0.5000"), each("00.50")), (each("1"), each("0.5"), each("0.5")));
        for bad in ["0", "0.000", "-1", "+1", "", ".", ".5", "1.", "NaN", "inf", "1e3", "0.3333", "1.5", "1 "]
        {
            assert!(bad.parse::<GpusPerTask>().is_err(), "{bad}");
        }
        let error = "99999999999".parse::<GpusPerTask>().unwrap_err();
        assert_eq!(error.to_string(), "\"99999999999\" is no number of GPUs: no host has so many");
    }

    #[test]
    fn each_slot_sees_its_own_of_what_the_rank_may_see() {
        let gpus = found(&[(CUDA, "2,5,GPU-8932f937,7")], &[], None);
        assert_eq!(shared(&gpus, "1", 2), ["CUDA_VISIBLE_DEVICES=2", "CUDA_VISIBLE_DEVICES=5"]);
        assert_eq!(
            shared(&gpus, "2", 2),
            ["CUDA_VISIBLE_DEVICES=2,5", "CUDA_VISIBLE_DEVICES=GPU-8932f937,7"]
        );
        assert_eq!(shared(&gpus, "none", 2), ["", ""]);
        // What Slurm sets where it does not know the maker.
        let all = found(&[(CUDA, "0,1"), (ROCR, "0,1"), (ZE, "0.0, 0.1")], &[], None);
        let second = "CUDA_VISIBLE_DEVICES=1 ROCR_VISIBLE_DEVICES=1 ZE_AFFINITY_MASK=0.1";
        assert_eq!(shared(&all, "1", 2)[1], second);
        assert_eq!(found(&[(CUDA, ""), (ROCR, "0,1"), (ZE, "0")], &[], None).len(), 1);
    }

    #[test]
    fn slots_share_a_gpu_in_equal_numbers() {
        let gpus = found(&[(CUDA, "4,6")], &[], None);
        let seen = |text, slots| -> Vec<String> {
            shared(&gpus, text, slots).iter().map(|set| set.replace("CUDA_VISIBLE_DEVICES=", "")).collect()
        };
        assert_eq!(seen("0.5", 4), ["4", "4", "6", "6"]);
        assert_eq!(seen("0.5", 3), ["4", "4", "6"]);
        assert_eq!(seen("0.5", 2), ["4", "6"]);
        assert_eq!(seen("0.25", 1), ["4"]);
        assert_eq!(seen("0.3", 6).len(), 6);
        assert!(gpus.shares(each("0.5"), 5, 0).is_err());
        assert!(gpus.shares(each("0.3"), 7, 0).is_err(), "three share one, and a tenth is left");
        assert!(gpus.shares(each("0.6"), 3, 0).is_err());
        assert!(gpus.shares(each("none"), 500, 0).is_ok());
    }

    #[test]
    fn more_slots_than_gpus_allow_are_refused() {
        let host = &here().host;
        let error = found(&[(CUDA, "0,1,2,3")], &[], None).shares(each("1"), 8, 3).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = format!(
            "8 slots with 1 GPU each, and rank 3 on {host} may see 4: CUDA_VISIBLE_DEVICES=0,1,2,3; ask for more \
             GPUs (Slurm: --gpus-per-node), start fewer children, or give --gpus-per-task less, such as 0.5 or none"
        );
        assert_eq!(error.to_string(), text);
        for hidden in ["", "-1", "NoDevFiles", "-1,0"] {
            let error = found(&[(CUDA, hidden)], &["nvidia0"], None).shares(each("2"), 1, 0).unwrap_err();
            assert!(error.to_string().starts_with("1 slots with 2 GPUs each"), "{error}");
            assert!(error.to_string().contains("may see none"), "{error}");
        }
        assert!(
            found(&[], &["nvidiactl", "nvidia-uvm", "dri/renderD128"], None).shares(each("1"), 1, 0).is_err()
        );
    }

    #[test]
    fn a_list_ends_at_the_first_that_is_no_gpu() {
        assert_eq!(names("0, 1,-1,2"), ["0", "1"]);
        assert_eq!(names("0,,2"), ["0"]);
        assert_eq!(names("1,1,0"), ["1", "0"]);
        assert_eq!(names("MIG-GPU-8932f937/1/0,MIG-d5c4"), ["MIG-GPU-8932f937/1/0", "MIG-d5c4"]);
    }

    #[test]
    fn where_no_variable_is_set_the_devices_count() {
        let nvidia = ["nvidia0", "nvidia3", "nvidiactl"];
        assert_eq!(shared(&found(&[], &nvidia, None), "1", 2)[1], "CUDA_VISIBLE_DEVICES=1");
        let one = "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6)\n";
        assert_eq!(shared(&found(&[], &nvidia, Some(one)), "1", 1), ["CUDA_VISIBLE_DEVICES=0"]);
        assert!(found(&[], &nvidia, Some(one)).shares(each("1"), 2, 0).is_err(), "a control group hides one");
        let cut = format!(
            "{one}  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef)\n  MIG 3g.20gb     Device  1: (UUID: \
             MIG-cba663e8)\nGPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-8a5d)\n"
        );
        assert_eq!(listed(&cut), ["MIG-c6d4f1ef", "MIG-cba663e8", "GPU-8a5d"]);
        assert_eq!(shared(&found(&[], &nvidia, Some("No devices found")), "0.5", 4).len(), 4);
    }

    #[test]
    fn the_gpus_of_this_host_can_all_be_shared_out() {
        let here = gpus();
        assert_eq!(here.shares(each("1"), here.len(), 0).unwrap().len(), here.len());
        assert!(here.shares(each("1"), here.len() + 1, 0).is_err());
    }

    #[test]
    fn a_program_that_lists_gpus_is_heard() {
        assert_eq!(listed_by(Path::new("echo")).as_deref(), Some("-L\n"));
        assert_eq!(listed_by(Path::new("false")), None);
        assert_eq!(listed_by(Path::new("/nonexistent/nvidia-smi")), None);
    }

    #[test]
    fn on_amd_a_slot_counts_from_0_in_what_rocr_leaves_it() {
        let amd = ["kfd", "dri/renderD128", "dri/renderD129", "dri/card0"];
        assert_eq!(shared(&found(&[], &amd, None), "1", 2)[1], "ROCR_VISIBLE_DEVICES=1");
        let slurm = found(&[(CUDA, "0,1"), (ROCR, "0,1")], &amd, None);
        assert_eq!(shared(&slurm, "1", 2)[1], "ROCR_VISIBLE_DEVICES=1 CUDA_VISIBLE_DEVICES=0");
        let user = found(&[("HIP_VISIBLE_DEVICES", "1")], &amd, None);
        assert_eq!(shared(&user, "1", 1), ["ROCR_VISIBLE_DEVICES=1 HIP_VISIBLE_DEVICES=0"]);
        assert!(user.shares(each("1"), 2, 0).is_err());
    }
}
