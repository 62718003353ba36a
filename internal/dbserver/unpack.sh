#!/bin/sh
# Unpacks Debian or Ubuntu packages, with everything they need, into a folder of its own, without
# touching the host's packages. No root needed.
#
#   unpack.sh ROOT SOURCES PATTERN
#
# ROOT is the folder to fill (its parent must exist); SOURCES an apt sources file; PATTERN a regular
# expression for package names: the last match is unpacked. apt resolves against an empty package
# status, so it downloads the whole closure, libc included; the packages are unpacked, never
# configured. Each step is announced on standard output.
set -eu

root=$1
sources=$2
pattern=$3

work=$root.apt
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$root"
: >"$work/status"

# The host's own apt settings (proxies, for one) hold, but not its hooks and folders: hooks may empty
# the host's caches, or ours between download and use.
apt-config dump | grep -Ev '^(Dir|Binary)\b|::(Post|Pre)-' >"$work/apt.conf" || true
cat >>"$work/apt.conf" <<CONF
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "$sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::State::extended_states "$work/extended_states";
Dir::Cache "$work/cache";
Dir::Log "$work";
APT::Default-Release "";
APT::Install-Recommends "false";
APT::Sandbox::User "";
APT::Keep-Downloaded-Packages "true";
Acquire::Retries "3";
Acquire::Languages "none";
Debug::NoLocking "true";
CONF
APT_CONFIG=$work/apt.conf
DEBIAN_FRONTEND=noninteractive
LC_ALL=C.UTF-8
export APT_CONFIG DEBIAN_FRONTEND LC_ALL

echo "reading the package index"
apt-get -qq --error-on=any update
package=$(apt-cache search --names-only "$pattern" | cut -d' ' -f1 | sort -V | tail -n 1)
if [ -z "$package" ]; then
	echo "no package matches $pattern in:" >&2
	cat "$sources" >&2
	exit 1
fi
echo "downloading $package and what it needs"
apt-get -qq -y --download-only install "$package"

set -- "$work"/cache/archives/*.deb
echo "unpacking $# packages"
# The packages expect these links, as every current system has them.
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64"
for name in bin sbin lib lib64; do
	ln -sfn "usr/$name" "$root/$name"
done
for deb; do
	dpkg-deb --fsys-tarfile "$deb" | tar -C "$root" -x --keep-directory-symlink --no-same-owner \
		--exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' \
		--exclude='./usr/share/perl/*' --exclude='./dev/*'
done
