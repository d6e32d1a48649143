# SPDX-License-Identifier: MIT
"""The process group of some dimensions of a mesh."""

from weakref import WeakKeyDictionary

from torch import Tensor
from torch import distributed as dist
from torch.distributed import distributed_c10d
from torch.distributed.device_mesh import DeviceMesh

#: Process groups that span several mesh dimensions, created once.
_groups: WeakKeyDictionary[DeviceMesh, dict[tuple[int, ...], dist.ProcessGroup]] = (
    WeakKeyDictionary()
)


def group_of(mesh: DeviceMesh, dims: list[int]) -> tuple[dist.ProcessGroup, list[list[int]]]:
    """The group of processes that differ from this one only in the given mesh dimensions, and the
    coordinates of each in these dimensions, in the order of the group's ranks."""
    here = mesh.get_coordinate()
    assert here is not None
    index = tuple(slice(None) if dim in dims else here[dim] for dim in range(mesh.ndim))
    ranks = mesh.mesh[index]
    if len(dims) == 1:
        group = mesh.get_group(dims[0])
    else:
        made = _groups.setdefault(mesh, {})
        if tuple(dims) not in made:
            made[tuple(dims)] = _new_group(mesh, dims, ranks)
        group = made[tuple(dims)]
    order = dist.get_process_group_ranks(group)
    return group, [(ranks == rank).nonzero()[0].tolist() for rank in order]


def _new_group(mesh: DeviceMesh, dims: list[int], ranks: Tensor) -> dist.ProcessGroup:
    """The group of these ranks."""
    if ranks.numel() == dist.get_world_size():
        assert dist.group.WORLD is not None
        return dist.group.WORLD
    backend = dist.get_backend(mesh.get_group(dims[0]))
    if mesh.size() != dist.get_world_size():
        return _group_without_others(sorted(ranks.flatten().tolist()), backend)
    mine = None
    others = [dim for dim in range(mesh.ndim) if dim not in dims]
    # All processes create all such groups in the same order.
    for row in mesh.mesh.permute(*others, *dims).reshape(-1, ranks.numel()).tolist():
        made = dist.new_group(sorted(row), backend=backend)
        mine = made if dist.get_rank() in row else mine
    assert isinstance(mine, dist.ProcessGroup)
    return mine


def _group_without_others(ranks: list[int], backend: str) -> dist.ProcessGroup:
    """The group of these ranks, of which only they know. torch names a group by its ranks and the
    number of groups so far, and waits forever if processes count differently: this group must not
    be counted, and is not made again."""
    world = distributed_c10d._world
    for group, members in world.pg_group_ranks.items():
        if not isinstance(group, dist.ProcessGroup):  # of processes without this one
            continue
        if sorted(members) == ranks and dist.get_backend(group) == backend:
            return group
    count = world.group_count
    made = dist.new_group(ranks, backend=backend, use_local_synchronization=True)
    world.group_count = count
    assert isinstance(made, dist.ProcessGroup)
    return made
