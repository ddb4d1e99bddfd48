"""Behaviour that we chose where the MediaScript reference is incomplete: one entry a method, printed on the
reference page. A test holds that every method whose parameters the reference does not state has one. Texts only.
"""

from __future__ import annotations

from collections.abc import Mapping

from dservices.mediagen import limits

GENERAL: tuple[str, ...] = (
    "Unknown parameters are refused, a parameter given twice too; `undefined` and `null` count as not given.",
    "A picture without layers is its own layer 0, named Background. A PSD is loaded flattened, as its file ends with it;"
    " `load(layers @ '*')` loads its layers instead.",
    "On a picture with layers every transform works on all of them, or on those that `layers` lists: each is laid on the"
    " canvas (what lies beyond is cut off), changed, and the picture flattened again. What draws (shapes, text, gradient,"
    " setPixel, composite) draws on the topmost visible layer unless `layers` says otherwise. When all layers change"
    " their size the canvas follows; otherwise it stays. A list that names no layer is refused.",
    "Exif, IPTC and XMP are written to JPEG and TIFF; Exif and XMP to PNG, WebP and AVIF. They are read from all of"
    " these and PSD, XMP also from GIF and PDF. In TIFF the known Exif fields are kept, others are dropped.",
    "A script is run from top to bottom, then `main` is called (or the function that `f` names). A script without `main`"
    " whose statements have answered is done. An `async` function is waited for; a promise that nothing can settle any"
    " more is an error, since there are no timers.",
    "An answer varies by the request headers that its script has read: they are added to `Vary`.",
    "A script is ECMAScript as V8 takes it. What it adds (`@` and directives) is read where it stands and nowhere else:"
    " a text without them is handed over as it is. Lines end where ECMAScript ends them (U+2028 and U+2029 included),"
    " columns count UTF-16 code units from 1, and a byte order mark counts for nothing.",
    "POST sends files: a body is one, `body`; a form (multipart/form-data) is taken apart. Its fields without a file are"
    " parameters, unless the MRL has one of that name. A field given twice is refused.",
    "A character that a named font lacks is taken from another one: there are Noto's for the scripts of the world, and"
    " emoji in colour. One that no font of the service has is an error that names it (`glyph_missing`); `allowMissing @"
    " true` draws boxes instead. The fonts are part of the engine's name in `CGN-Meta-Engine`. Chinese without a font's"
    " name has the Japanese forms of shared characters; `font @ 'Noto Sans CJK SC'` (TC, HK, KR) has its own.",
    "What is saved without a profile is sRGB, which is what its readers take it for: other RGB and gray is converted"
    " through its profile, inks where the format has none (`save`, `embedProfile`). Colours in calls are numbers in the"
    " picture's own space; what is put on a picture of another RGB space is converted into that one's.",
    "SVG and single pages of PDF have no pixels until some are wanted: `scale` straight after `load` (turns and mirrors"
    " may lie between) renders them at that size, whatever `alg` says. Several pages at once are rendered at `dpi`.",
    "What alpha hides takes no part in filters that look at neighbours.",
    "Read are JPEG, PNG, GIF, WebP, AVIF, TIFF, BMP, TGA, WBMP, SVG, PSD and PDF. HEIC, JPEG XL, JPEG 2000, PostScript,"
    " PICT and ICO are refused by name (415). Sound and video are 422 `media_second_step`: poster frames, probe, trim,"
    " scale and transcode, waveform and loudness come with a second step.",
    "Names: `https://…`, a path beside the script, `mem:/x` (this request's own), and `store:path` where `stores` in the"
    ' MRL names a document `{"stores": {"photos": {"type": "s3", "endpoint": …, "bucket": …, "region": …,'
    ' "prefix": …, "access_key": …, "secret_key": …, "session_token": …}}}`, or `{"type": "azure" | "datalake",'
    ' "container": …, "sas": …, "prefix": …}`, or `{"type": "http", "base": …, "query": …}`. Whoever knows the MRL can'
    " read that document: let it hold keys for one folder and a short time.",
    "Identical requests that are in flight at the same moment are one execution, unless the answer is `Streamed`.",
    "Monochrome AVIF in video's range (its nclx box says so) is expanded to black and white as colours are.",
    f"A request may take {limits.WORK_CPU_S:g} s of processor time and {limits.WORK_MEMORY_BYTES >> 20} MiB of memory; the"
    " operator may set other bounds. Beyond them the answer is 422 `work_cpu`, `work_memory` or `work_failed`.",
    "A script without `main` but with `processImage(media)`: the picture of the parameter `name` is loaded (`frames` and"
    " `dpi` as for load), the function called, and what it returns, or else the picture it was given, saved (`type` and"
    " `quality` as for save).",
    "Without a colour, padding is white (no ink on CMYK) or the background colour, transparent where there is alpha.",
    "Angles are degrees; positive ones turn clockwise. Places are pixels from the upper left corner.",
    "Chance is a function of `seed` and place: the same call gives the same picture (G-1).",
)

METHODS: Mapping[str, str] = {
    "load": "The type comes from the content; `type` counts only with `detect @ false`. `temporaryFileName` keeps the"
    " pages of a PDF as a multi-frame TIFF in `mem:`. `fillColor` is the paper of a PDF. `layers` (PSD) names the layers"
    " to load; groups are dissolved, effects and adjustments are not drawn.",
    "loadAsRGB": "CMYK goes through the embedded or the default profile, gray gets three equal channels.",
    "save": "`colors` writes a palette with as many bits as hold so many colours. `dither` is in tenths. Without `type`"
    " the name's ending says it; else GIF for animations, PNG for pictures with alpha, JPEG. JPEG states a resolution"
    " other than 72. `compression` is TIFF's; `lossless` concerns WebP, AVIF, and TIFF with WebP. `embedProfile`: true"
    " keeps numbers and profile, false numbers without it, 'convert' makes sRGB. Without a word CMYK keeps both where the"
    " format has inks, and everything else becomes sRGB.",
    "makeCanvas": "White (no ink on CMYK) unless `fillColor` is given. Packed formats are stored with 8 bits a channel in"
    " the steps they have; HSV-24 and HLS-24 are stored as RGB.",
    "makeText": "Always RGBA, whatever `rtype` says. `fitText` with `wrap`: the greatest size, in half points and at most"
    " `size`, at which no line is wider, without breaking lines. `clearType` has no effect.",
    "clone": "Layers, palette, profile, metadata and selection go along.",
    "scale": "`Fast` lets the decoder shrink; `Smooth` has a cubic kernel for enlarging; `Best` and `OS` Lanczos 3;"
    " `Outline` takes the nearest pixel of gray pictures. `preserveBackground`: pixels of exactly the background colour"
    " are not mixed in; a pixel takes the object's colour where it covers more than `preserveBackgroundCutoff` per cent,"
    " else the background's. `transparentCutoff`: alpha above it becomes 255, the rest 0; -1 leaves it.",
    "crop": "Omitted sizes are the picture's, omitted places centre; beyond the picture it pads.",
    "pad": "As crop.",
    "zoom": "The window of `xs` by `ys` (default: the picture's size) on the picture magnified by `scale` per cent, around"
    " `x`, `y` in pixels of the picture (default: its middle).",
    "rotate": "The canvas grows to hold the turned picture; with `resize @ false` it keeps its size, and `xs`, `ys` set"
    " it. Other angles than quarters are interpolated linearly, without `smooth` by the nearest pixel.",
    "flip": "horizontal exchanges left and right, vertical top and bottom.",
    "mirror": "As flip.",
    "quadWarp": "Projective; corners are given clockwise from the upper left. The canvas keeps its size.",
    "rectangle": "Coordinates are lines between pixels: x @ 0 with xs @ 1 and fill is the first column. `angle` turns it"
    " around its middle.",
    "arc": "0 degrees is to the right; filled it is a slice. With `warpAngles` the angles are those of the circle before"
    " it becomes an ellipse, without it they are as seen.",
    "polygon": "With `fill` it is closed in any case.",
    "line": "Ends are cut square; `fill` has no meaning.",
    "setPixel": "Opaque.",
    "getPixel": "Of the first frame; alpha is left out; gray gives a gray RGB number.",
    "gradient": "linear: along `angle` (0 is left to right) from edge to edge; radial: from the centre to the corners. An"
    " empty Media becomes RGB of `xs` by `ys`.",
    "drawText": "Handles are center and middle; omitted coordinates centre. `append`: the text's left edge is where the"
    " last drawText of this picture ended (plus `x`), at the same height unless `y` is given. `line` is a factor on the"
    " distance of lines, `smoothFactor` renders 2^n times larger, `clearType` has no effect.",
    "measureText": "Pixels from the start of the first line.",
    "sizeText": "{width, height} of the ink in pixels.",
    "adjustRgb": "v' = (v - 128)·f + 128 + brightness + channel with f = 259(contrast + 255) / (255(259 - contrast)).",
    "adjustHsb": "Hue turns by 360 degrees · hue / 255; saturation and brightness are added. Gray has brightness only,"
    " CMYK is refused.",
    "equalize": "The percentage falls outside at each end; -1 equalises the histogram. Brightness is one curve for all"
    " channels from the histogram of luma; saturation is that of HSV.",
    "colorize": "The colour's hue at the picture's luminosity; `saturation` says how far the colour's own saturation"
    " comes along.",
    "convert": "`dither` (tenths) spreads up to one step of a packed format over a pattern of 4 x 4; with"
    " `preserveBackground` not on pixels of the background colour. Gray is Rec. 601 luma.",
    "reduce": "Median cut over 32,768 cells unless the colours are few enough to stay; dithering is ordered, `dither`"
    " tenths of 64 steps; pixels brighter than `ditherTop` tenths are not dithered. `noWarp` weighs red, green and blue"
    " alike instead of 3 : 6 : 1. `preserveBackground` keeps the background colour to itself, as index 0. `useAlpha`"
    " makes alpha above `alphaCutoff` opaque and the rest clear; without it alpha stays. `name` is a shipped palette or"
    " the address of a JASC or RIFF .pal or an .act; Windows 256 beyond its 20 fixed colours is a cube and grays. The"
    " picture stays RGB in memory and is saved with a palette.",
    "setColor": "`popular` takes the most frequent colour (of the listed layers) as background; not `precise`, the most"
    " frequent one of the most frequent cell of 8 x 8 x 8 colours.",
    "colorCorrect": "Perceptual unless said otherwise. `overrideEmbedded` lets `sourceProfile` go before the embedded"
    " one. A source profile of another colour space than the picture's counts as none.",
    "setSourceProfile": "The numbers stay; what they mean changes.",
    "exportChannel": "With `layers` of those layers flattened. Hue is 0..255 for the whole circle.",
    "importChannel": "`rtype` says how the source is read: a packed format at its precision, Alpha-8 its alpha.",
    "fixAlpha": "c' = (c - background·(1 - alpha)) / alpha.",
    "blur": "A box of 2·radius + 1 pixels a side.",
    "blurBlur": "Weights 1 2 1, 2 4 2, 1 2 1.",
    "blurMoreBlur": "blurBlur three times.",
    "blurGaussianBlur": "`radius` is the standard deviation.",
    "blurMotionBlur": "The mean along a line of `distance` pixels.",
    "noiseAddNoise": "`amount` in per cent: even between -2.55·amount and +2.55·amount, or with `gaussian` normal with"
    " half of that as deviation; with `grayscale` the same for all channels.",
    "otherHighPass": "v - gaussian + 128.",
    "otherMaximum": "The greatest value to be seen in a square of 2·radius + 1; alpha stays.",
    "otherMinimum": "The least value to be seen in a square of 2·radius + 1; alpha stays.",
    "pixellateMosaic": "Cells start at the upper left; the last ones are filled up with the outermost pixels.",
    "pixellateFragment": "Four copies, 4 pixels off in each diagonal direction.",
    "sharpenSharpen": "Weights 5 in the middle, -1 at its four sides.",
    "sharpenSharpenMore": "Weights 9 in the middle, -1 around.",
    "sharpenUnsharpMask": "v + amount % of (v - gaussian), where that differs by `threshold` or more.",
    "stylizeDiffuse": "Each pixel takes one of its nine neighbours' values; lighten and darken keep the extreme.",
    "stylizeEmboss": "The difference of luma `height` pixels towards and away from `angle` (0 is from the right,"
    " counter-clockwise as on the editor's dial), around 128.",
    "stylizeFindEdges": "Sobel, inverted; strengths below `threshold` do not show.",
    "stylizeTraceContour": "Black where a value at or above `level` has a neighbour below it (upper), or the reverse.",
    "dropShadow": "`blur` is the deviation; the canvas grows by three of it unless `enlarge @ false`.",
    "glow": "The shape grown by `size` (a square), then blurred.",
    "convolve": "Row by row; without `divisor` by the sum of the weights, or 1 if that is 0. Without negative weights and"
    " `offset` it blurs, and alpha goes along; else alpha stays.",
    "composite": "Handles are center and middle: that point of the source is put at `x`, `y`. An animated source goes"
    " frame by frame, its last frame for the rest. `fixAlpha` takes the source's background colour out of its soft"
    " pixels first.",
    "selection": "`radius` feathers with half of it as deviation; `remove` drops the selection. With `layers` colours are"
    " looked for in those layers.",
    "collapse": "`visibleOnly` leaves hidden layers out; `likePS` flattens on white with the alpha of the first layer.",
    "getLayer": "The layer's own pixels, without its place and opacity.",
    "setLayer": "One beyond the last adds a layer.",
    "setLayerBlend": "Names of the blend modes.",
    "setLayerOpacity": "0 to 255.",
    "setLayerVisible": "Hidden layers do not show, and collapse takes them unless told otherwise.",
    "setLayerPosition": "Of the upper left corner, may be negative.",
    "setLayerName": "At most 31 characters.",
    "getLayerCount": "0 for an empty Media, 1 for a picture without layers.",
    "getLayerName": "As setLayerName.",
    "getFrameCount": "Pages count as frames.",
    "getFrame": "Layers do not go along.",
    "setFrame": "One beyond the last adds a frame; on a picture with layers these are flattened first.",
    "getFrameDelay": "0 for what does not move.",
    "setFrameDelay": "GIF keeps hundredths of a second.",
    "getResolution": "Across; 72 where the file says nothing.",
    "setResolution": "Pixels stay as they are.",
    "getPopularColor": "Of equally frequent ones the smallest number.",
    "getPalette": "Of the first frame in sRGB, at 128 pixels a side; the commonest first, transparent pixels left out.",
    "getThumbHash": "Of the first frame in sRGB.",
    "getPerceptualHash": "16 hexadecimal digits, by the lowest 64 cosines of 32 x 32 grays: two pictures that differ in at"
    " most 5 bits are versions of one.",
    "getInfo": "{width, height, format, pixelFormat, alpha, gray, frames, duration, loop, layers, dpi, profile, palette,"
    " thumbHash, perceptualHash, metadata}; the last one is what `load(loadMetadata @ true)` has found, by block and field."
    " `resp.setObject(new TextResponse(JSON.stringify(media.getInfo()), 'application/json'))` answers with it.",
    "getMetadata": "`<Exif>` and `<IPTC>` with one element a field, repeated for lists; XMP as it is.",
    "setMetadata": "As getMetadata gives it.",
}
