#!/usr/bin/env bash
# Prints the environment in which WebGPU finds a software adapter: SwiftShader, a Vulkan driver that computes on the CPU, from
# Debian's package chromium-common. Only its two libraries are unpacked (6 MB of 32), into a cache folder; nothing is installed, so no
# rights are needed. Where that is not possible it says so on stderr and prints nothing, and the tests that need an adapter are skipped.
#
#   eval "$(tools/software-gpu.sh)"
set -euo pipefail

if [[ -n "${VK_ICD_FILENAMES:-}" ]]; then exit 0; fi
skip() {
  echo "no software GPU: $1" >&2
  exit 0
}
[[ "$(uname -s)" == Linux ]] || skip "SwiftShader comes from a Debian package"

folder="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/llmopt-software-gpu"
if [[ ! -e "$folder/ready" ]]; then
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || skip "apt-get is not here"
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  cd "$work"
  mkdir -p lists/partial archives/partial unpacked
  # The lists of packages may be missing or old: then fresh ones, kept here.
  private=(-o Dir::State::Lists="$work/lists" -o Dir::Cache="$work" -o APT::Sandbox::User=root)
  {
    timeout 60 apt-get download chromium-common ||
      { timeout 60 apt-get "${private[@]}" update && timeout 60 apt-get "${private[@]}" download chromium-common; }
  } >log 2>&1 || skip "chromium-common cannot be downloaded: $(tail -n 1 log)"
  dpkg-deb --fsys-tarfile chromium-common_*.deb |
    tar -x -C unpacked --strip-components=4 ./usr/lib/chromium/libvk_swiftshader.so ./usr/lib/chromium/libvulkan.so.1 \
      ./usr/lib/chromium/vk_swiftshader_icd.json 2>>log || skip "chromium-common has no SwiftShader: $(tail -n 1 log)"
  mkdir -p "$folder"
  mv unpacked/* "$folder/"
  touch "$folder/ready"
fi

echo "export VK_ICD_FILENAMES='$folder/vk_swiftshader_icd.json'"
echo "export LD_LIBRARY_PATH='$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}'"
if [[ -z "${XDG_RUNTIME_DIR:-}" ]]; then
  mkdir -p "$folder/run"
  echo "export XDG_RUNTIME_DIR='$folder/run'"
fi
