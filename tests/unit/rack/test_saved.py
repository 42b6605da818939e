"""Saved racks without machines: what they are made from, their records, and what is refused before anything starts."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance import inventory_secrets
from appliance.rack import origin, saved, saving
from appliance.rack.cli import rack
from appliance.rack.model import Machine, Rack, RackError, layer_dir, load
from appliance.rack.saved import Saved


def _no_machine(rack: Rack, machine: Machine) -> None:
    pytest.fail(f"a machine of {rack.name} was about to start: {machine.name}")


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("appliance.rack.saved.LOCKS", tmp_path)
    monkeypatch.setattr("appliance.rack.cli._root", lambda: None)
    # What is refused here starts nothing, however broken the refusal is.
    for begins in ("prepare", "power_on"):
        monkeypatch.setattr(f"appliance.rack.machine.{begins}", _no_machine)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A machines' tree of which only the list of its packages is asked."""
    status = tmp_path / "tree/var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text("Package: one\n")
    return tmp_path / "tree"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "roles/one/tasks").mkdir(parents=True)
    (root / "roles/one/tasks/main.yml").write_text("---\n")
    (root / "inventories/rack/group_vars/all").mkdir(parents=True)
    (root / "site.yml").write_text("---\n")
    (root / "tests").mkdir()
    return root


def keep(name: str, tree: Path, *layers: str, **shape: int) -> Saved:
    """Write a saved rack's record and layers, as `save` leaves them."""
    kept = Saved(name, Rack(name="t9", tree=str(tree), layers=layers, **shape), origin.present(tree), "2026-01-01", 1)
    for layer in layers:
        layer_dir(layer).mkdir(parents=True, exist_ok=True)
    with saved.only_one(), saved.draft(name) as folder:
        saved.write_record(folder, kept)
        for machine in kept.rack.machines():
            for disk in saved.kept_disks(folder, machine).values():
                disk.write_text("disk")
    return kept


def test_a_saved_rack_is_read_as_it_was_written(tree: Path) -> None:
    kept = keep("demo", tree, "upper", "lower", stores=2, disks=2)
    assert saved.find("demo") == kept
    assert asdict(saved.find("demo").rack) == asdict(kept.rack)
    assert saved.find("demo").missing() == []


@pytest.mark.parametrize(
    "change",
    ["roles/one/tasks/main.yml", "roles/new.yml", "site.yml", "inventories/rack/hosts", "plugins/modules/x.py"],
)
def test_each_file_that_shapes_machines_shapes_the_key(project: Path, change: str) -> None:
    before = origin.hash_of_files(project)
    (project / change).parent.mkdir(parents=True, exist_ok=True)
    (project / change).write_text("changed\n")
    assert origin.hash_of_files(project) != before


def test_each_byte_of_them_shapes_the_key(project: Path) -> None:
    before = origin.hash_of_files(project)
    (project / "site.yml").write_text("--+\n")
    assert origin.hash_of_files(project) != before


def test_a_name_and_an_executable_bit_shape_the_key(project: Path) -> None:
    found = [origin.hash_of_files(project)]
    (project / "site.yml").chmod(0o755)
    found.append(origin.hash_of_files(project))
    (project / "roles/one/tasks/main.yml").rename(project / "roles/one/tasks/other.yml")
    found.append(origin.hash_of_files(project))
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    "change",
    [
        "tests/test_x.py",
        "inventories/rack/.vault-password",
        "inventories/rack/group_vars/all/secrets.yml",
        "roles/__pycache__/x.pyc",
    ],
)
def test_tests_and_secrets_do_not_shape_the_key(project: Path, change: str) -> None:
    before = origin.hash_of_files(project)
    (project / change).parent.mkdir(parents=True, exist_ok=True)
    (project / change).write_text("changed\n")
    assert origin.hash_of_files(project) == before


def test_a_rack_of_other_files_is_stale_and_can_be_taken_knowingly(tree: Path) -> None:
    kept = keep("demo", tree)
    assert saving.origin_faults(kept, stale=False) == []
    other = replace(kept, origin=replace(kept.origin, files="others", commit="abc1234"))
    (told,) = saving.origin_faults(other, stale=False)
    assert "at abc1234" in told
    assert "--stale" in told
    assert saving.origin_faults(other, stale=True) == []
    assert saving.origin_faults(replace(kept, origin=replace(kept.origin, release="0.0.9")), stale=False)


def test_a_tree_that_was_made_anew_cannot_be_taken(tree: Path) -> None:
    kept = keep("demo", tree)
    (tree / "var/lib/dpkg/status").write_text("Package: newer\n")
    (told,) = saving.origin_faults(kept, stale=True)
    assert "appliance rack forget demo" in told


def test_a_half_written_one_is_never_found_and_goes_with_the_next(tree: Path) -> None:
    half = saved.root() / f"demo{saved.DRAFT}"
    half.mkdir(parents=True)
    (half / saved.RECORD).write_text("{}")
    assert saved.names() == []
    with pytest.raises(RackError, match=r"no saved rack 'demo' \(saved: none\)"):
        saved.find("demo")
    keep("other", tree)
    assert not half.exists()


def test_an_aborted_save_leaves_nothing() -> None:
    with saved.only_one(), pytest.raises(KeyboardInterrupt), saved.draft("demo"):
        raise KeyboardInterrupt
    assert list(saved.root().iterdir()) == []


def test_a_layer_stays_for_as_long_as_a_saved_rack_or_a_rack_lies_on_it(tree: Path) -> None:
    keep("old", tree, "shared", "olds")
    keep("new", tree, "news", "shared")
    Rack(name="t9", tree=str(tree), layers=("olds",)).save()
    saved.forget("old")
    assert sorted(path.name for path in layer_dir("").iterdir()) == ["news", "olds", "shared"]
    (load("t9") or Rack()).folder.rename(tree.parent / "gone")
    saved.forget("new")
    assert list(layer_dir("").iterdir()) == []


def test_a_record_that_cannot_be_read_costs_no_layer_and_can_be_forgotten(tree: Path) -> None:
    keep("whole", tree, "one")
    keep("broken", tree, "two")
    (saved.folder_of("broken") / saved.RECORD).write_text("{")
    saved.forget("whole")
    assert layer_dir("two").exists()
    saved.forget("broken")
    assert list(layer_dir("").iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "Demo", "", "a.draft", "-x", "a" * 33])
@pytest.mark.parametrize("verb", [["save"], ["forget", "--yes-destroy", "x"], ["up", "--from"]])
def test_a_name_that_is_none_reaches_no_path(name: str, verb: list[str]) -> None:
    Rack(name="t9", tree="/nowhere", ready=True).save()
    done = CliRunner().invoke(rack, ["--name", "t9", *verb, "--", name] if verb[0] != "up" else [*verb, name])
    assert done.exit_code == 1
    assert f"NAME {name!r}" in done.output


def test_all_that_is_wrong_is_said_at_once() -> None:
    done = CliRunner().invoke(rack, ["up", "--from", "demo", "--stores", "2", "--subnet", "10.9.0.0/24"])
    assert done.exit_code == 1
    for told in ("--stores: a saved rack", "--subnet: a saved rack", "no saved rack 'demo'"):
        assert told in done.output


def test_stale_alone_means_nothing_and_says_so() -> None:
    done = CliRunner().invoke(rack, ["up", "--stale"])
    assert done.exit_code == 1
    assert "--from NAME" in done.output


def test_forgetting_wants_the_name(tree: Path) -> None:
    keep("demo", tree)
    done = CliRunner().invoke(rack, ["forget", "demo"], input="other\n")
    assert done.exit_code == 1
    assert saved.names() == ["demo"]
    assert CliRunner().invoke(rack, ["forget", "demo"], input="demo\n").exit_code == 0
    assert saved.names() == []


def test_the_list_says_what_each_was_made_from(tree: Path) -> None:
    kept = keep("demo", tree)
    (row,) = json.loads(CliRunner().invoke(rack, ["saved", "--json"]).output)
    assert row["name"] == "demo"
    assert row["rack"] == "t9"
    assert row["key"] == kept.origin.key
    assert row["current"] is True


class TestSecrets:
    @pytest.fixture
    def inventory(self, tmp_path: Path) -> Path:
        folder = tmp_path / "inventory"
        folder.mkdir()
        inventory_secrets.ensure(folder)
        return folder

    @pytest.fixture
    def folder(self, tmp_path: Path, inventory: Path) -> Path:
        """A saved rack's folder with the inventory's secrets."""
        folder = tmp_path / "kept"
        folder.mkdir()
        saving.keep_secrets(folder, inventory)
        return folder

    def test_they_come_back_where_there_are_none_for_their_owner_only(
        self, folder: Path, inventory: Path, tmp_path: Path
    ) -> None:
        bare = tmp_path / "bare"
        bare.mkdir()
        assert saving.secret_faults(folder, bare) == []
        saving.give_secrets(folder, bare)
        for name in (Path(inventory_secrets.PASSWORD_FILE), inventory_secrets.SECRETS_FILE):
            assert (bare / name).read_bytes() == (inventory / name).read_bytes()
            assert (bare / name).stat().st_mode & 0o777 == 0o600
        assert all(file.stat().st_mode & 0o777 == 0o600 for file in folder.iterdir())

    def test_the_same_ones_are_no_fault_and_stay(self, folder: Path, inventory: Path) -> None:
        (inventory / "group_vars/all/accounts.yml").write_text("accounts_users: [{name: new, uid: 2009}]\n")
        inventory_secrets.ensure(inventory)
        before = (inventory / inventory_secrets.SECRETS_FILE).read_bytes()
        assert saving.secret_faults(folder, inventory) == []
        saving.give_secrets(folder, inventory)
        assert (inventory / inventory_secrets.SECRETS_FILE).read_bytes() == before

    def test_others_are_refused_by_their_names_alone(self, folder: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        inventory_secrets.ensure(other)
        (told,) = saving.secret_faults(folder, other)
        assert "ceph_fsid" in told
        key = (folder / "vault-password").read_text().strip()
        values = inventory_secrets.read(folder / "secrets.yml", key)
        assert not any(str(value) in told for value in values.values() if value)

    def test_a_password_without_its_secrets_is_refused(self, folder: Path, inventory: Path) -> None:
        (inventory / inventory_secrets.SECRETS_FILE).unlink()
        (told,) = saving.secret_faults(folder, inventory)
        assert "only one file" in told
