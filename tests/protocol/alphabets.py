"""What the properties draw from: values that the protocol allows, and text near what it refuses."""

from hypothesis import strategies as st

NEARLY = "/,:.-#!><+{}\"'%\\ \t\r\n\0\x1f\x7f\x85\x9f\u00a0\u2028\u3000aZ09é𝄞"

nearly = st.text(st.sampled_from(NEARLY), max_size=40).map(str.encode) | st.binary(max_size=40)

fields = (
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters=","), max_size=64)
    .map(str.encode)
    .filter(lambda value: len(value) <= 256)
)

_segments = st.sampled_from([".", "..", "a", "%d", "%"]) | st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters=",/"),
    min_size=1,
    max_size=20,
)

topics = (
    st.lists(_segments, min_size=1, max_size=8).map(lambda segments: "/" + "/".join(segments)).map(str.encode)
)
