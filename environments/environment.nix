# One environment, from the wheels of its lock file and the project's own wheel. No nixpkgs: the interpreter is the
# machine's /usr/bin/python3.13, so the builder needs `sandbox = false`.
#
#   nix-build environment.nix --argstr manifest /etc/appliance/environments/analysis.json --argstr wheels URL
#
# Two layers: the base holds the lock's packages (large, changes with the lock), the environment proper the project's
# package and the commands (small, changes with every commit). Users and units name the upper one only.
#
# A wheel is fetched by its hash, and the address that it came from does not enter any store path: two facilities with
# the same lock and project have the same paths.
{ manifest, wheels }:
let
  env = builtins.fromJSON (builtins.readFile manifest);

  # By a program of its own: Nix's builtin downloader forks while threads of its parent hold locks, and then may wait for
  # ever.
  fetch = { file, sha256, path ? file, ... }: derivation {
    name = file;
    system = "x86_64-linux";
    builder = python;
    args = [
      "-ISc"
      "import os, shutil, urllib.request as web; shutil.copyfileobj(web.urlopen(os.environ['url'], timeout=60), open(os.environ['out'], 'wb'))"
    ];
    url = "${wheels}/${path}";
    outputHashMode = "flat";
    outputHashAlgo = "sha256";
    outputHash = sha256;
    preferLocalBuild = true;
  };

  python = "/usr/bin/python3.13";
  site = "lib/python3.13/site-packages";

  common = {
    system = "x86_64-linux";
    builder = "/bin/sh";
    PATH = "/usr/bin:/bin";
    LANG = "C.UTF-8";
    PYTHONHASHSEED = "0";
    uvWheel = fetch env.uv;
    inherit python site;
    # Links named as the wheels were, for --find-links; $1.. are store paths (32 characters of hash and a dash first).
    prepare = ''
      links=$TMPDIR/wheels
      mkdir -p "$links"
      for wheel in "$@"; do file=''${wheel##*/}; ln -s "$wheel" "$links/''${file#*-}"; done
      "$python" -m zipfile -e "$uvWheel" "$TMPDIR/uv"
      uv=$(echo "$TMPDIR"/uv/uv-*.data/scripts/uv)
      chmod +x "$uv"
      "$python" -m venv --without-pip "$out"
      export UV_CACHE_DIR="$out/.uv" UV_NO_CONFIG=1
      install() {
        "$uv" --quiet pip install --python "$out/bin/python" --offline --no-index --find-links "$links" \
          --link-mode hardlink "$@"
      }
    '';
    # Byte code that does not look at its source's time: the store sets all times to the same second.
    finish = ''
      rm -rf "$UV_CACHE_DIR" "$out/.lock"
      "$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash -x "$unparsable" "$out/$site"
    '';
    # Templates and samples that are named *.py and are no Python 3.
    unparsable = "/(templates|cookiecutter|py2only|lib2to3/tests)/";
  };

  base = derivation (common // {
    name = "appliance-${env.name}-base";
    lock = builtins.toFile "requirements.lock" env.lock;
    args = [ "-euc" ''eval "$prepare"; install --require-hashes --requirements "$lock"; eval "$finish"'' "base" ]
      ++ map fetch env.wheels;
  });
in
derivation (common // {
  name = "appliance-${env.name}-${env.version}";
  inherit base;
  inherit (env) version;
  args = [
    "-euc"
    ''
      eval "$prepare"
      install --no-deps "appliance==$version"
      # The interpreter reads this as it starts: where the base is, and, in environments for analysis, what completes
      # xarray as it is imported.
      echo "$base/$site" > "$out/$site/base.pth"
      if [ -d "$base/$site/xarray" ]; then echo "import appliance.on_import" >> "$out/$site/base.pth"; fi
      # The lock's commands, run by this environment's interpreter: only that one sees both layers.
      for command in "$base"/bin/*; do
        name=''${command##*/}
        case $name in python* | activate* | Activate*) continue ;; esac
        [ ! -e "$out/bin/$name" ] || continue
        if head -c 2 "$command" | grep -q '#!'; then
          sed "1,3s|$base/bin/|$out/bin/|g" "$command" > "$out/bin/$name"
          chmod +x "$out/bin/$name"
        else
          ln -s "$command" "$out/bin/$name"
        fi
      done
      for data in share etc; do
        if [ -d "$base/$data" ] && [ ! -e "$out/$data" ]; then ln -s "$base/$data" "$out/$data"; fi
      done
      eval "$finish"
    ''
    "environment"
    (fetch env.own)
  ];
})
