//! Tells the binary where libtorch lies and which build of it this is.

use std::env;
use std::fs;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Some(libtorch) = env::var_os("LIBTORCH") else { return };
    let libtorch = Path::new(&libtorch);
    // The rpaths of .cargo/config.toml are relative to target/; this one serves a binary that was installed elsewhere.
    println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{}", libtorch.join("lib").display());
    println!("cargo:rerun-if-changed={}", libtorch.join("version.py").display());
    println!("cargo:rustc-env=UNTANGLE_TORCH_BUILD={}", torch_build(libtorch));
    let has_cuda = libtorch.join("lib/libtorch_cuda.so").exists();
    println!("cargo:rustc-env=UNTANGLE_TORCH_HAS_CUDA={}", u8::from(has_cuda));
}

/// The git revision that a PyTorch (`version.py`) or a libtorch archive (`build-hash`) was built from, empty if unknown.
fn torch_build(libtorch: &Path) -> String {
    let python = fs::read_to_string(libtorch.join("version.py")).unwrap_or_default();
    let revision = python.lines().find_map(|line| line.strip_prefix("git_version = '")?.split('\'').next());
    match revision {
        Some(revision) => revision.to_owned(),
        None => fs::read_to_string(libtorch.join("build-hash")).unwrap_or_default().trim().to_owned(),
    }
}
