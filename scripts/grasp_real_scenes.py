#!/usr/bin/env python3
"""Plans grasps of every annotated object in a set of RGB-D scenes, and draws each object's best one.

scripts/grasp_real_scenes.py FOLDER --out DIR [--model grabcut ...] [--planner antipodal] [--gripper franka_hand]

FOLDER is anything that `sam-perception eval` opens and that has depth and intrinsics, such as real RealSense views with
hand-drawn masks. Masks are the true ones and, for each --model, those by one click and by one box. Nothing is executed:
whether the pads close on the true object is judged by the depth alone, and the pictures are there to be looked at.
Prints the tables that docs/grasping.md holds; writes DIR/<scene>-<masks>.png and DIR/grasps.csv.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

from sam_perception.answers import write_png  # noqa: E402
from sam_perception.engine import SegmentationEngine  # noqa: E402
from sam_perception.evaluation.clicks import first_click, tight_box  # noqa: E402
from sam_perception.evaluation.datasets import open_set  # noqa: E402
from sam_perception.evaluation.metrics import iou  # noqa: E402
from sam_perception.evaluation.scenes import EvaluationObject, EvaluationScene  # noqa: E402
from sam_perception.geometry.clouds import deproject_mask  # noqa: E402
from sam_perception.geometry.objects import ObjectGeometry, measure_object  # noqa: E402
from sam_perception.grasping.candidates import GraspCandidate, GraspPlan  # noqa: E402
from sam_perception.grasping.gripper import DEFAULT_GRIPPER, Gripper, load_gripper  # noqa: E402
from sam_perception.grasping.outlines import draw_gripper  # noqa: E402
from sam_perception.grasping.planners import DEFAULT_PLANNER, plan_grasps  # noqa: E402
from sam_perception.masks import Mask, object_color  # noqa: E402
from sam_perception.models import load_model  # noqa: E402
from sam_perception.prompts import Prompt  # noqa: E402

TRUE = "true"
ENLARGED = 2
LEAST_POINTS = 5  # of the true object between the pads; fewer are the depth's noise


@dataclasses.dataclass(frozen=True)
class Row:
    """One object with one kind of mask.

    Attributes:
        scene: its name.
        name: of the object.
        masks: where the mask came from.
        iou: of it with the true one.
        candidates: how many grasps there are; of the best
        quality: 0..1,
        opening_mm: what the gripper opens to,
        tilt_deg: of its approach from straight down onto the plane; not a number without a plane,
        points: of the true object's depth between the pads, and
        others: of other annotated objects' depth there.
        reason: why there is no grasp, or what to know.
        ms: for measuring and planning.
    """

    scene: str
    name: str
    masks: str
    iou: float
    candidates: int
    quality: float
    opening_mm: float
    tilt_deg: float
    points: int
    others: int
    reason: str
    ms: float

    @property
    def closes_on_it(self) -> bool:
        """Whether the best grasp has the true object between its pads."""
        return self.points >= LEAST_POINTS

    @property
    def closes_on_others(self) -> bool:
        """Whether it has more of another object there than of it."""
        return self.others > max(self.points, LEAST_POINTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", type=Path, help="folder of scenes, or a COCO file")
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and grasps.csv")
    parser.add_argument("--model", action="append", default=[], help="also with this model's masks; may be repeated")
    parser.add_argument("--planner", default=DEFAULT_PLANNER, help=f"({DEFAULT_PLANNER})")
    parser.add_argument("--gripper", default=DEFAULT_GRIPPER, help=f"name or YAML file ({DEFAULT_GRIPPER})")
    parser.add_argument("--device", default="cpu", help="where grasps are closed: auto, cuda, cuda:N or cpu (cpu)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    gripper, rows = load_gripper(args.gripper), []
    for scene, kind, masks in tqdm(masks_of_all(args.scenes, args.model), desc="grasping", disable=None):
        found = [measured_and_planned(scene, masks, i, gripper, args.planner, args.device) for i in range(len(masks))]
        plans = [plan for _, plan, _ in found]
        rows += [
            described(scene, kind, mask, thing, gripper, *each)
            for mask, thing, each in zip(masks, scene.objects, found, strict=True)
        ]
        write_png(args.out / f"{scene.name}-{kind.replace(' ', '-')}.png", drawn(scene, masks, plans, gripper))
    print_objects(rows)
    print_totals(rows)
    with (args.out / "grasps.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Row)])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(row) for row in rows)


def masks_of_all(path: Path, models: Sequence[str]) -> Iterator[tuple[EvaluationScene, str, list[Mask]]]:
    """Every scene with each kind of masks, one for each object in its order."""
    scenes = open_set(path)
    for index in range(len(scenes)):
        scene = scenes.scene(index)
        yield scene, TRUE, [Mask.from_array(thing.mask, object_id=i + 1) for i, thing in enumerate(scene.objects)]
    for name in models:
        with SegmentationEngine(load_model(name)) as engine:
            for index in range(len(scenes)):
                scene = scenes.scene(index)
                for kind, prompts in (
                    ("click", [Prompt(points=[_click(thing)]) for thing in scene.objects]),
                    ("box", [Prompt(box=thing.box or tight_box(thing.mask)) for thing in scene.objects]),
                ):
                    yield scene, f"{name} {kind}", engine.segment(prompts, frame=scene.frame).masks


def _click(thing: EvaluationObject) -> tuple[int, int]:
    return thing.click or first_click(thing.mask)[:2]


def measured_and_planned(
    scene: EvaluationScene, masks: Sequence[Mask], index: int, gripper: Gripper, planner: str, device: str
) -> tuple[ObjectGeometry, GraspPlan, float]:
    """One object's geometry, its grasps, and ms for both."""
    start = time.perf_counter()
    others = [mask for i, mask in enumerate(masks) if i != index]
    geometry = measure_object(scene.frame, masks[index], others)
    plan = plan_grasps(scene.frame, geometry, gripper, planner, device=device)
    return geometry, plan, 1e3 * (time.perf_counter() - start)


def described(
    scene: EvaluationScene,
    kind: str,
    mask: Mask,
    thing: EvaluationObject,
    gripper: Gripper,
    geometry: ObjectGeometry,
    plan: GraspPlan,
    ms: float,
) -> Row:
    best = plan.candidates[0] if plan.candidates else None
    quality, opening, tilt, points, others = np.nan, np.nan, np.nan, 0, 0
    if best is not None:
        quality, opening = best.quality, 1e3 * best.width_m
        if geometry.plane is not None:
            tilt = float(np.degrees(np.arccos(np.clip(-best.approach @ geometry.plane.normal, -1, 1))))
        points = between_pads(scene, thing.mask, best, gripper)
        others = sum(between_pads(scene, other.mask, best, gripper) for other in scene.objects if other is not thing)
    return Row(
        scene.name, thing.name, kind, iou(thing.mask, mask.to_array()), len(plan.candidates), quality, opening, tilt,
        points, others, "; ".join((*geometry.reasons, *plan.reasons)), ms,
    )  # fmt: skip


def between_pads(scene: EvaluationScene, mask: np.ndarray, candidate: GraspCandidate, gripper: Gripper) -> int:
    """How many depth pixels of a mask lie between the finger tips' pads of an open gripper."""
    points = deproject_mask(scene.frame, Mask.from_array(mask)).points.astype(np.float64)
    pose = candidate.camera_T_tcp
    x, y, z = ((points - pose[:3, 3]) @ pose[:3, :3]).T
    beside = (np.abs(x) < gripper.finger_width_m / 2) & (np.abs(y) < candidate.width_m / 2)
    return int(np.count_nonzero(beside & (np.abs(z) < gripper.tip_m)))


def drawn(scene: EvaluationScene, masks: Sequence[Mask], plans: Sequence[GraspPlan], gripper: Gripper) -> np.ndarray:
    """(H, W, 3) RGB, enlarged: every mask's outline and the gripper at its best grasp, in the object's colour."""
    frame = scene.frame
    assert frame.intrinsics is not None
    height, width = frame.size
    picture = cv2.resize(frame.color, (ENLARGED * width, ENLARGED * height), interpolation=cv2.INTER_CUBIC)
    shift = (ENLARGED - 1) / 2  # pixels' middles stay where they are
    camera = dataclasses.replace(
        frame.intrinsics,
        width=ENLARGED * width,
        height=ENLARGED * height,
        fx=ENLARGED * frame.intrinsics.fx,
        fy=ENLARGED * frame.intrinsics.fy,
        cx=ENLARGED * frame.intrinsics.cx + shift,
        cy=ENLARGED * frame.intrinsics.cy + shift,
    )
    for mask in masks:
        for contour in mask.contours():
            cv2.polylines(picture, [ENLARGED * contour], True, object_color(mask.object_id), 1, cv2.LINE_AA)
    for mask, thing, plan in zip(masks, scene.objects, plans, strict=True):
        if plan.candidates:
            draw_gripper(picture, camera, plan.candidates[0], gripper, object_color(mask.object_id), 2)
        text = f"{thing.name} {plan.candidates[0].quality:.2f}" if plan.candidates else f"{thing.name}: none"
        x, y = (ENLARGED * value for value in _click(thing))
        for color, thickness in (((0, 0, 0), 4), (object_color(mask.object_id), 1)):
            cv2.putText(picture, text, (x - 50, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, thickness, cv2.LINE_AA)
    return picture


def print_objects(rows: Sequence[Row]) -> None:
    kinds = list(dict.fromkeys(row.masks for row in rows))
    print("Best grasp: quality, opening, tilt from straight down; how many candidates\n")
    print(f"| scene | object | {' | '.join(kinds)} |\n|---|---|{'---|' * len(kinds)}")
    for each in zip(*[by_kind(rows, kind) for kind in kinds], strict=True):
        print(f"| {each[0].scene} | {each[0].name} | {' | '.join(map(cell, each))} |")
    print()
    for row in rows:
        if row.reason:
            print(f"{row.scene} {row.name}, {row.masks} (IoU {row.iou:.2f}): {row.reason}")


def cell(row: Row) -> str:
    if not row.candidates:
        return "none"
    doubt = " **other**" if row.closes_on_others else "" if row.closes_on_it else " **beside**"
    tilt = "no plane" if np.isnan(row.tilt_deg) else f"{row.tilt_deg:.0f}°"
    return f"{row.quality:.2f}, {row.opening_mm:.0f} mm, {tilt}; {row.candidates}{doubt}"


def print_totals(rows: Sequence[Row]) -> None:
    print("\n| masks | IoU | objects | with a grasp | closing on it | median quality | median tilt | median ms |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in dict.fromkeys(row.masks for row in rows):
        part = by_kind(rows, kind)
        grasped = [row for row in part if row.candidates]
        right = sum(row.closes_on_it and not row.closes_on_others for row in grasped)
        print(
            f"| {kind} | {statistics.mean(row.iou for row in part):.2f} | {len(part)} | {len(grasped)} | {right} "
            f"| {_median([row.quality for row in grasped]):.2f} | {_median([row.tilt_deg for row in grasped]):.0f}° "
            f"| {_median([row.ms for row in part]):.0f} |"
        )


def by_kind(rows: Sequence[Row], kind: str) -> list[Row]:
    return [row for row in rows if row.masks == kind]


def _median(values: Sequence[float]) -> float:
    return float(np.nanmedian(values)) if len(values) else float("nan")


if __name__ == "__main__":
    main()
