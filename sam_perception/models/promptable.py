"""What the SAM families share: embeddings kept on the device, and prompts answered in one decoder pass."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError, ModelUnavailableError
from sam_perception.frames import RgbdFrame
from sam_perception.masks import STABILITY_OFFSET, Mask
from sam_perception.models import devices
from sam_perception.models.base import Embedding, SegmentationModel
from sam_perception.models.devices import Placement
from sam_perception.models.mask_decoder import decode_masks, embed_tokens
from sam_perception.prompts import Prompt

# Labels of prompt tokens, as Meta numbers them: background, foreground, two corners of a box, and not a point.
BOX_LABELS = (2, 3)
NOT_A_POINT = -1
FILLER = -2  # fills up shorter prompts; no attention sees it

# A binary mask as logits. Source: SAM 2, SAM2Base._use_mask_as_output (out_scale, out_bias).
MASK_SCALE, MASK_BIAS = 20.0, -10.0

# Of RGB in 0..255: ImageNet's, which both families use.
_PIXEL_MEAN = (123.675, 116.28, 103.53)
_PIXEL_STD = (58.395, 57.12, 57.375)

_MASKS_AT_ONCE = 16  # full-resolution masks in memory at a time

Tokens = NDArray[np.float64]
"""(T, 3): x and y in pixels, and label."""

# Meta's names of the prompt encoder and the mask decoder, which SAM and SAM 2 share, and those of transformers.
PROMPT_AND_DECODER_NAMES = (
    (
        r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$",
        "shared_image_embedding.positional_embedding",
    ),
    (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
    (r"^prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"^prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"^prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"^prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"^prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
    (r"^(mask_decoder\.transformer\.layers\.\d+)\.norm(\d)\.", r"\1.layer_norm\2."),
    (r"^mask_decoder\.transformer\.norm_final_attn\.", "mask_decoder.transformer.layer_norm_final_attn."),
    (r"^mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"^mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"^mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
)
DECODER_MLPS = r"output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head"


@dataclasses.dataclass(frozen=True)
class PromptableEmbedding(Embedding):
    """One encoded frame.

    Attributes:
        image: (1, P, C) features of the P positions of the embedding's grid, row by row, in the encoder's dtype.
        high_res: feature maps (1, C', h, w) of 4 and 2 times that grid, or nothing.
        image_size: (height, width) of the frame.
    """

    image: torch.Tensor
    high_res: tuple[torch.Tensor, ...]
    image_size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.image, *self.high_res))


class PromptableModel(SegmentationModel):
    """A network of transformers with an image encoder, a prompt encoder and SAM's mask decoder.

    A family says how it fits an image into its square input, how it orders tokens, how it chooses one mask and
    how it enlarges masks.

    Args:
        network: SamModel or Sam2Model, on the CPU in fp32, filled.
        placement: where to run it.
        name: as the user asked for it.
        point_embeddings: (4, C) of the labels 0 to 3.
        output_tokens: (K, C) tokens that precede those of the prompt: the masks' come last, IoU's before them.
    """

    prompt_kinds = frozenset({"points", "box", "mask", "logits"})

    def __init__(
        self,
        network: Any,
        placement: Placement,
        name: str,
        point_embeddings: torch.Tensor,
        output_tokens: torch.Tensor,
    ) -> None:
        self.name = name
        self.device = str(placement.device)
        self._device, self._dtype = placement.device, placement.dtype
        self.network = network.requires_grad_(False).eval().to(placement.device)
        network.vision_encoder.to(placement.dtype)
        config = network.config.prompt_encoder_config
        self.input_size = int(config.image_size)
        self.logits_size = 4 * self.input_size // int(config.patch_size)
        self._mean = torch.tensor(_PIXEL_MEAN, device=placement.device).view(3, 1, 1)
        self._std = torch.tensor(_PIXEL_STD, device=placement.device).view(3, 1, 1)
        with torch.inference_mode():
            positions = network.get_image_wide_positional_embeddings()
            self._grid_positions = positions.flatten(2).transpose(1, 2).contiguous()
            not_a_point = network.prompt_encoder.not_a_point_embed.weight
            self._label_embeddings = torch.cat([not_a_point, point_embeddings.to(placement.device)])
            self._output_tokens = output_tokens.to(placement.device)
        self._encoder = network.vision_encoder
        if placement.compile:
            self._compile()

    @torch.inference_mode()
    def encode(self, frame: RgbdFrame) -> PromptableEmbedding:
        """Run the image encoder on the frame.

        Raises:
            ModelUnavailableError: the device has not enough memory.
        """
        doing = f"encoding a {frame.width}x{frame.height} image on {self.device}"
        with devices.out_of_memory_as_sentence(doing, "use precision fp16 or bf16, or a smaller model"):
            image = self._input_of(frame)
            features, high_res = self._features(self._encoder(image))
            tokens = features.flatten(2).transpose(1, 2).contiguous()
            high_res = tuple(level.to(self._dtype, memory_format=torch.channels_last) for level in high_res)
            return self._embedding(frame, image, tokens, high_res)

    @torch.inference_mode()
    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], multimask: bool) -> list[list[Mask]]:
        """Answer every prompt in one pass of the mask decoder; see SegmentationModel.decode.

        Raises:
            InvalidInputError: logits of another shape than this model's, or another model's embedding.
            ModelUnavailableError: the device has not enough memory.
        """
        if not isinstance(embedding, PromptableEmbedding):
            raise InvalidInputError.for_field("embedding", f"one that {self.name} made", type(embedding).__name__)
        if not prompts:
            return []
        doing = f"decoding {len(prompts)} prompts on {self.device}"
        with devices.out_of_memory_as_sentence(doing, "send fewer prompts in one request, or keep fewer frames"):
            prompts = self._with_history(embedding, prompts, multimask)
            logits, scores = self.predict(embedding, prompts, multimask)
            return self._masks(logits, scores, prompts, embedding)

    @torch.inference_mode()
    def predict(
        self, embedding: PromptableEmbedding, prompts: Sequence[Prompt], multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The answer as tensors: (N, K, h, w) low-resolution logits and (N, K) IoU; K is 3, best first, or 1."""
        masks = slice(1, None) if multimask else slice(0, self._candidates_for_one)
        _, logits, scores = self._decode(embedding, prompts, masks)
        chosen = scores.argsort(dim=1, descending=True) if multimask else self._choose(logits, scores)
        rows = torch.arange(len(prompts), device=self._device)[:, None]
        return logits[rows, chosen], scores[rows, chosen]

    def close(self) -> None:
        """Let go of the network and its memory."""
        self.network = self._encoder = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    # What a family says about itself.

    _candidates_for_one: int
    """How many of the mask tokens have to be computed to choose one mask."""

    _logit_limit: float
    """Low-resolution logits are handed out within plus and minus this."""

    @abc.abstractmethod
    def upsample(self, logits: torch.Tensor, image_size: tuple[int, int]) -> torch.Tensor:
        """(M, 1, h, w) low-resolution logits to (M, 1, H, W) logits of the image."""

    @abc.abstractmethod
    def _features(self, output: Any) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """The image encoder's output as (1, C, h, w) features and those of 4 and 2 times that resolution."""

    @abc.abstractmethod
    def _fit(self, image_size: tuple[int, int], side: int) -> tuple[int, int]:
        """(height, width) that an image takes up, from the top left, in a square of that side."""

    @abc.abstractmethod
    def _order(self, points: Tokens, box: Tokens) -> list[Tokens]:
        """Tokens of one prompt in the authors' order, with NOT_A_POINT where they put it; an empty list for none."""

    @abc.abstractmethod
    def _choose(self, logits: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(N, 1) index of the mask to answer with when one is asked for."""

    def _enlarge(self, logits: torch.Tensor, embedding: PromptableEmbedding) -> torch.Tensor:
        """(M, 1, h, w) low-resolution logits to (M, 1, H, W) logits of the embedded image."""
        return self.upsample(logits, embedding.image_size)

    def _settled(self, logits: torch.Tensor, prompts: Sequence[Prompt], embedding: PromptableEmbedding) -> torch.Tensor:
        """(M, 1, H, W) logits of M single answers, with what a family does to them last."""
        return logits

    def _low_resolution(self, logits: torch.Tensor) -> torch.Tensor:
        """(N, K, h, w) logits as they are handed out, to be fed back."""
        return logits

    def _with_history(
        self, embedding: PromptableEmbedding, prompts: Sequence[Prompt], multimask: bool
    ) -> Sequence[Prompt]:
        """The prompts as they are asked in the end, where a family asks something else first."""
        return prompts

    # Frames in.

    def _embedding(
        self, frame: RgbdFrame, image: torch.Tensor, tokens: torch.Tensor, high_res: tuple[torch.Tensor, ...]
    ) -> PromptableEmbedding:
        """What is kept of a frame whose network input was ``image``."""
        return PromptableEmbedding(tokens, high_res, frame.size)

    def _input_of(self, frame: RgbdFrame) -> torch.Tensor:
        """The network's (1, C, S, S) input: colour, unless a family sees more."""
        # torch warns about arrays that cannot be written to, as those of a frame; a copy costs 0.1 ms.
        return self._preprocess(torch.from_numpy(frame.color.copy()).to(self._device))

    def _preprocess(self, color: torch.Tensor) -> torch.Tensor:
        """(H, W, 3) uint8 to the network's (1, 3, S, S) input, normalised, zero where the image does not reach."""
        height, width = self._fit((color.shape[0], color.shape[1]), self.input_size)
        image = color.permute(2, 0, 1)[None].float()
        image = F.interpolate(image, (height, width), mode="bilinear", align_corners=False, antialias=True)
        image = (image - self._mean) / self._std
        return F.pad(image, (0, self.input_size - width, 0, self.input_size - height)).to(self._dtype)

    def _compile(self) -> None:
        """Compile the image encoder and run it once, so that what cannot work fails now."""
        self._encoder = torch.compile(self.network.vision_encoder)
        config = self.network.config.vision_config
        channels = getattr(config, "backbone_config", config).num_channels
        blank = torch.zeros(1, channels, self.input_size, self.input_size, device=self._device, dtype=self._dtype)
        try:
            with torch.inference_mode():
                self._encoder(blank)
        except Exception as error:  # the compiler's own failures have no common base
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelUnavailableError(
                f"compile: torch.compile failed on {self.name} ({line}); load without it"
            ) from error

    def _decode(
        self, embedding: PromptableEmbedding, prompts: Sequence[Prompt], masks: slice
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(N, T, 3) tokens, and of some of the mask tokens (N, M, h, w) logits and (N, M) IoU."""
        table = self._token_table(prompts, embedding.image_size)
        is_padding = table[..., 2] == FILLER
        image = embedding.image.float() + self._dense(prompts, table, embedding)
        logits, scores = decode_masks(
            self.network.mask_decoder,
            self._output_tokens,
            self._embed(table),
            is_padding if is_padding.any() else None,
            image,
            self._grid_positions,
            [level.float() for level in embedding.high_res],
            masks,
        )
        return table, logits, scores

    # Prompts in.

    def _token_table(self, prompts: Sequence[Prompt], image_size: tuple[int, int]) -> torch.Tensor:
        """(N, T, 3) tokens: x and y in 0..1 of the network's input, and label; FILLER where a prompt is shorter."""
        lists = [self._tokens_of(prompt, image_size) for prompt in prompts]
        longest = max(len(tokens) for tokens in lists)
        table = np.full((len(lists), longest, 3), FILLER, dtype=np.float32)
        for row, tokens in zip(table, lists, strict=True):
            row[: len(tokens)] = tokens
        return torch.from_numpy(table).to(self._device)

    def _tokens_of(self, prompt: Prompt, image_size: tuple[int, int]) -> Tokens:
        """(T, 3) tokens of one prompt: x and y in 0..1 of the network's input, label."""
        corners = np.zeros((0, 2)) if prompt.box_array is None else prompt.box_array.reshape(2, 2)
        ordered = self._order(
            np.column_stack([prompt.point_array, prompt.label_array]),
            np.column_stack([corners, BOX_LABELS[: len(corners)]]),
        )
        tokens = np.concatenate([np.zeros((0, 3)), *ordered])
        height, width = self._fit(image_size, self.input_size)
        scale = np.array([width / image_size[1], height / image_size[0]])
        tokens[:, :2] = (tokens[:, :2] * scale + 0.5) / self.input_size  # + 0.5: to the pixel's centre
        return tokens

    def _embed(self, tokens: torch.Tensor) -> torch.Tensor:
        frequencies = self.network.prompt_encoder.shared_embedding.positional_embedding
        return embed_tokens(tokens, frequencies, self._label_embeddings)

    def _dense(self, prompts: Sequence[Prompt], table: torch.Tensor, embedding: PromptableEmbedding) -> torch.Tensor:
        """(N or 1, P or 1, C) that the prompts' masks, or their absence, add to the image."""
        encoder = self.network.prompt_encoder
        absent = encoder.no_mask_embed.weight[None]
        rows = [i for i, prompt in enumerate(prompts) if prompt.mask is not None or prompt.logits is not None]
        if not rows:
            return absent
        logits = torch.stack([self._mask_logits(prompts[i], embedding.image_size) for i in rows])
        dense = absent.repeat(len(prompts), self._grid_positions.shape[1], 1)
        dense[rows] = encoder.mask_embed(logits).flatten(2).transpose(1, 2)
        return dense

    def _mask_logits(self, prompt: Prompt, image_size: tuple[int, int]) -> torch.Tensor:
        """(1, h, w) low-resolution logits that a prompt brings along, or that its mask amounts to."""
        side = self.logits_size
        if prompt.logits is not None:
            if prompt.logits.shape != (side, side):
                expected = f"the shape {(side, side)} of this model's Mask.logits"
                raise InvalidInputError.for_field("Prompt.logits", expected, prompt.logits.shape)
            return torch.from_numpy(prompt.logits).to(self._device)[None]
        mask = torch.from_numpy(np.array(prompt.mask)).to(self._device)[None, None].float()
        height, width = self._fit(image_size, side)
        mask = F.interpolate(mask, (height, width), mode="bilinear", align_corners=False, antialias=True)
        return MASK_SCALE * F.pad(mask[0], (0, side - width, 0, side - height)) + MASK_BIAS

    # Masks out.

    def _handed_out(self, logits: torch.Tensor) -> NDArray[np.float32]:
        """(N, K, h, w) logits as callers get them, to be fed back."""
        return self._low_resolution(logits).clamp(-self._logit_limit, self._logit_limit).cpu().numpy()

    def _masks(
        self,
        logits: torch.Tensor,
        scores: torch.Tensor,
        prompts: Sequence[Prompt],
        embedding: PromptableEmbedding,
    ) -> list[list[Mask]]:
        count = scores.shape[1]
        flat = logits.flatten(0, 1)[:, None]
        answers: list[tuple[NDArray[np.bool_], float]] = []
        for start in range(0, len(flat), _MASKS_AT_ONCE):
            some = slice(start, start + _MASKS_AT_ONCE)
            enlarged = self._enlarge(flat[some], embedding)
            answers += _binary(self._settled(enlarged, prompts[some], embedding) if count == 1 else enlarged)
        low_res = self._handed_out(logits)
        ious = scores.clamp(0, 1).cpu().numpy()
        return [
            [
                Mask.from_array(
                    answers[i * count + k][0],
                    score=ious[i, k],
                    stability=answers[i * count + k][1],
                    logits=low_res[i, k].copy(),  # a view would keep the whole request's alive
                    object_id=prompt.object_id,
                )
                for k in range(count)
            ]
            for i, prompt in enumerate(prompts)
        ]


def _binary(logits: torch.Tensor) -> list[tuple[NDArray[np.bool_], float]]:
    """(H, W) bool mask and stability of each of (M, 1, H, W) logits; as masks.stability_score, on the device."""
    strict = (logits > STABILITY_OFFSET).sum(dim=(1, 2, 3))
    loose = (logits > -STABILITY_OFFSET).sum(dim=(1, 2, 3))
    stability = strict / loose.clamp(min=1)
    return list(zip((logits[:, 0] > 0).cpu().numpy(), stability.tolist(), strict=True))
